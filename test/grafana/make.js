// Writes the dashboard of examples/monitoring as TypeScript, where its words are types.

import { readFileSync, writeFileSync } from 'node:fs';

const dashboard = readFileSync('../../examples/monitoring/dashboard.json', 'utf8');
writeFileSync('dashboard.ts', `import type { Checked } from './schema.js';\n\nexport const dashboard: Checked = ${dashboard};\n`);
