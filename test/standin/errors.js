// What PostgREST answers where a call fails: its own codes, and a status for
// each SQLSTATE.

import pg from 'pg';

export class Failure extends Error {
	constructor(status, code, message, details = null, hint = null, headers = {}) {
		super(message);
		this.status = status;
		this.body = { code, details, hint, message };
		this.headers = headers;
	}
}

// The status for an SQLSTATE: the first line that it starts with.
const statuses = [
	['08', 503],
	['09', 500],
	['0L', 403],
	['0P', 403],
	['21000', 500],
	['23503', 409],
	['23505', 409],
	['25006', 405],
	['25', 500],
	['28', 403],
	['2D', 500],
	['38', 500],
	['39', 500],
	['3B', 500],
	['40', 500],
	['53400', 500],
	['53', 503],
	['54', 500],
	['55', 500],
	['57P01', 503],
	['57', 500],
	['58', 500],
	['F0', 500],
	['HV', 500],
	['P0001', 400],
	['P0', 500],
	['XX', 500],
	['42883', 404],
	['42P01', 404],
	['42P17', 500],
];

function statusOf({ code, message }, role) {
	if (code === '42501') {
		return role === 'anon' ? 401 : 403;
	}
	if (code === '22023' && /^role .* does not exist$/.test(message)) {
		return 401;
	}
	if (code.startsWith('PT')) {
		return Number(code.slice(2)) || 500;
	}
	return statuses.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 400;
}

function objectOf(text) {
	try {
		const value = JSON.parse(text);

		return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
	} catch {
		return {};
	}
}

// SQLSTATE PGRST lets a function say all of the response: the body in MESSAGE,
// status and headers in DETAIL.
function raised({ message, detail = '' }) {
	const { code, message: told, details = null, hint = null } = objectOf(message);
	const { status, headers } = objectOf(detail);
	const isText = (value) => typeof value === 'string';
	const problem = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error";

	if (!isText(code) || !isText(told) || ![details, hint].every((value) => value === null || isText(value))) {
		return new Failure(500, 'PGRST121', problem, `Invalid JSON value for MESSAGE: '${message}'`);
	}
	if (!Number.isInteger(status) || typeof headers !== 'object') {
		return new Failure(500, 'PGRST121', problem, `Invalid JSON value for DETAIL: '${detail}'`);
	}
	return new Failure(status, code, told, details, hint, headers);
}

// Makes a failure of what the server, or its absence, has thrown.
export function failureOf(error, role) {
	if (error instanceof Failure) {
		return error;
	}
	if (!(error instanceof pg.DatabaseError)) {
		return new Failure(503, 'PGRST001', 'Database client error. Retrying the connection.', error.message);
	}
	if (error.code === 'PGRST') {
		return raised(error);
	}
	return new Failure(statusOf(error, role), error.code, error.message, error.detail, error.hint);
}
