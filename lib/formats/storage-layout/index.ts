export * from './index-file.ts';
export * from './metadata.ts';
export * from './names.ts';
export * from './paths.ts';
export * from './positions.ts';
export * from './schema-file.ts';
export * from './stored-json.ts';
export * from './type-map.ts';
