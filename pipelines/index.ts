export * from './cloud-storage-sink/index.ts';
export * from './event-recorder/index.ts';
export * from './storage-reader/index.ts';
