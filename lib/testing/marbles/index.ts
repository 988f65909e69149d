export { type Diagram, parseDiagram } from './diagram.ts';
export {
  type EventMarbles,
  type EventMarblesOptions,
  type ExpectOptions,
  eventMarbles,
  type StreamOptions,
  type ToBe,
} from './event-marbles.ts';
export type { DeliveryValues } from './item-maker.ts';
export { deliveryOf, eventOf, notationOf } from './notation.ts';
export { printDiagram } from './print.ts';
export type { Mark, RecordedStream, Recording } from './recording.ts';
export type { MarbleSessions } from './sessions.ts';
export type { MarbleStream, SubscriptionFrames } from './sources.ts';
export { dispatcherNamed, MarbleTables, type TableSketch, type TableSketches, tableNamed } from './tables.ts';
