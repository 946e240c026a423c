// JSON Web Tokens signed with HS256, as Supabase's are.

import { createHmac, timingSafeEqual } from 'node:crypto';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
const mac = (text, secret) => createHmac('sha256', secret).update(text).digest();

export function sign(claims, secret) {
	const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;

	return `${text}.${mac(text, secret).toString('base64url')}`;
}

// Returns the claims of a token, or throws with PostgREST's code.
export function verify(token, secret) {
	const parts = token.split('.');
	const [header, payload, signature] = parts;

	if (parts.length !== 3) {
		throw Object.assign(new Error(`Expected 3 parts in JWT; got ${parts.length}`), { code: 'PGRST301' });
	}
	const given = Buffer.from(signature, 'base64url');
	const expected = mac(`${header}.${payload}`, secret);

	if (given.length !== expected.length || !timingSafeEqual(given, expected) || decode(header).alg !== 'HS256') {
		throw Object.assign(new Error('No suitable key or wrong key type'), { code: 'PGRST301' });
	}
	const claims = decode(payload);

	if (claims.exp !== undefined && claims.exp <= Date.now() / 1000) {
		throw Object.assign(new Error('JWT expired'), { code: 'PGRST303' });
	}
	return claims;
}
