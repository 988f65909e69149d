export { cloudStorage } from './cloud-storage.ts';
export type { CloudStorageOptions, CsvOptions } from './options.ts';
