export * from './errors.ts';
export * from './events/index.ts';
export * from './flow/index.ts';
export { type JsonValue, parseJson, stringifyJson } from './formats/json.ts';
export * from './runtime/index.ts';
export type * from './sources/source.ts';
