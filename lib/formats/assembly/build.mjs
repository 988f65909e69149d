// npm run build:wasm             compiles canal-rows.ts beside this to ../canal-rows-wasm.ts
// npm run build:wasm -- --check  fails when that is not what it says
import { readFile, writeFile } from 'node:fs/promises';
import asc from 'assemblyscript/asc';

const source = new URL('canal-rows.ts', import.meta.url);
const target = new URL('../canal-rows-wasm.ts', import.meta.url);
const options = ['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--initialMemory', '20'];

let wasm = null;
const { error, stderr } = await asc.main(['canal-rows.ts', ...options, '--outFile', 'canal-rows.wasm'], {
  readFile: async (name) => (name === 'canal-rows.ts' ? readFile(source, 'utf8') : null),
  writeFile: (_, content) => {
    wasm = Buffer.from(content);
  },
  listFiles: () => [],
});
if (error !== null || wasm === null) throw new Error(`${stderr.toString()}${error?.message ?? ''}`);

const text = `/** Made by \`npm run build:wasm\` from \`assembly/canal-rows.ts\`. */
export const CANAL_ROWS_WASM =
  '${wasm.toString('base64')}';
`;
if (!process.argv.includes('--check')) await writeFile(target, text);
else if ((await readFile(target, 'utf8')) !== text) {
  throw new Error('lib/formats/canal-rows-wasm.ts is not made from lib/formats/assembly/canal-rows.ts: run npm run build:wasm');
}
