import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const out = new URL('node_modules/.cache/millrace-cli/', root);
const path = (relative, base = root) => fileURLToPath(new URL(relative, base));

/** Before all specs: the command line as a user runs it, compiled. Those that start it dozens of times do not pay for a loader each time; without it they take the source. */
export default function compileCli() {
  // Written over, not removed: another run of specs may be using it.
  mkdirSync(out, { recursive: true });
  copyFileSync(path('package.json'), path('package.json', out));
  const options = ['-p', path('tsconfig.build.json'), '--outDir', path('dist', out), '--declaration', 'false'];
  try {
    execFileSync(process.execPath, [path('node_modules/typescript/bin/tsc'), ...options], { stdio: 'ignore' });
  } catch {
    // `npm run check` says what is wrong with the types; the specs run as they are.
    rmSync(out, { recursive: true, force: true });
  }
}
