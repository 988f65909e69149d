export * from './clock.ts';
export * from './context.ts';
export * from './gauge.ts';
export * from './metrics.ts';
export * from './operator.ts';
export * from './progress.ts';
export * from './pump.ts';
