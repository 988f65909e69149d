export * from './database.ts';
export * from './oracle.ts';
export { type SimPostgresFaults, SimServer, type SimServerOptions } from './server.ts';
export { type SimSlot, SimSlots } from './slots.ts';
export type { LinkFate } from './socket.ts';
export * from './source.ts';
export type { SimColumn, SimShape } from './table-shape.ts';
export * from './workload.ts';
