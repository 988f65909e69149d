import { endToEnd, snapshot } from './end-to-end.ts';
import { formats } from './formats.ts';
import { operators } from './operators.ts';

// `npm run bench` runs all parts; `npm run bench -- formats snapshot` runs those named.
const PARTS: Readonly<Record<string, () => string | Promise<string>>> = { formats, 'end-to-end': endToEnd, snapshot, operators };

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  console.error(`no bench is called ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
for (const [name, part] of Object.entries(PARTS)) {
  if (asked.length === 0 || asked.includes(name)) console.log(await part());
}
