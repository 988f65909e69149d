export * from './checkpoint-store-suite.ts';
export * from './memory-source.ts';
export * from './object-store-suite.ts';
export * from './random.ts';
export * from './runner.ts';
export * from './virtual-clock.ts';
