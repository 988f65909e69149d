export { encodeStandbyStatus, FrameKind, ReplicationFrame, type StandbyStatus } from './frames.ts';
export * from './lsn.ts';
export * from './messages.ts';
export { type PgoutputOptions, PgoutputReader } from './reader.ts';
