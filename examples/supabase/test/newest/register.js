// Lets the tests run with the newest supabase-js: node --import ./test/newest/register.js
//
// It asks for a WebSocket when a client is made, which Node.js has from version
// 22 on, and uses it for Realtime only.

import { register } from 'node:module';

globalThis.WebSocket ??= class {};
register('./resolve.js', import.meta.url);
