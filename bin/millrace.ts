#!/usr/bin/env node
import { runCommandLine } from './command-line.ts';

// Which Node comes next is no matter of somebody who captures to a bucket.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

process.exit(await runCommandLine(process.argv.slice(2)));
