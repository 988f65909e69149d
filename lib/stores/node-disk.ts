import type { Disk } from './disk.ts';
import { nodeFiles } from './node-files.ts';
import { lockState } from './state-lock.ts';

/** The disk of this machine. */
export const nodeDisk: Disk = { ...nodeFiles, lock: lockState };
