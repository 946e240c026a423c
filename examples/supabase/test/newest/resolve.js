export function resolve(specifier, context, next) {
	return next(specifier === '@supabase/supabase-js' ? 'supabase-js-newest' : specifier, context);
}
