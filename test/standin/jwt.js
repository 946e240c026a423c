// JSON Web Tokens signed with HS256, as Supabase's are.

import { createHmac, timingSafeEqual } from 'node:crypto';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
const mac = (text, secret) => createHmac('sha256', secret).update(text).digest();

export function sign(claims, secret) {
	const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;

	return `${text}.${mac(text, secret).toString('base64url')}`;
}

// Returns the claims of a token, or throws.
export function verify(token, secret) {
	const [header, payload, signature, ...rest] = token.split('.');

	if (signature === undefined || rest.length > 0) {
		throw new Error('Expected 3 parts in JWT');
	}
	const given = Buffer.from(signature, 'base64url');
	const expected = mac(`${header}.${payload}`, secret);

	if (decode(header).alg !== 'HS256' || given.length !== expected.length || !timingSafeEqual(given, expected)) {
		throw new Error('JWSError JWSInvalidSignature');
	}
	const claims = decode(payload);

	if (claims.exp !== undefined && claims.exp <= Date.now() / 1000) {
		throw new Error('JWT expired');
	}
	return claims;
}
