import { MillraceError } from '../errors.ts';
import { redactUrl } from '../redact.ts';
import { CREDENTIAL_PARAMETERS, type S3CredentialOptions, type S3Credentials, s3CredentialsOf } from './s3-credentials.ts';

/** Where an S3 store is and how objects are kept there; each is a query parameter of its URI too (`?force-path-style=true`), which wins. */
export interface S3LocationOptions extends S3CredentialOptions {
  /** `http://…` or `https://…`. Default: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else Amazon's. */
  readonly endpoint?: string;
  /** As `eu-west-1`. Default: what the SDK finds (AWS_REGION, profile); at another endpoint us-east-1. */
  readonly region?: string;
  /** Whether the bucket is named in the path and not in the host. Default: with an endpoint. */
  readonly forcePathStyle?: boolean;
  /** Whether the store honours If-None-Match. Default true. */
  readonly conditionalWrites?: boolean;
  /** `crc32` (the store keeps it, and what is read is compared) or `md5` (of each request alone, known everywhere). Default crc32 at Amazon, else md5. */
  readonly checksum?: string;
  /** How many parts of one large object are on their way at once. Default 1; a number outside 1 to 512 counts as 1 (spec storage-sink §7.2). */
  readonly flushConcurrency?: number;
  /** Encryption: `AES256`, `aws:kms` or `aws:kms:dsse`. Default: the bucket's. */
  readonly sse?: string;
  /** With `aws:kms` and `aws:kms:dsse`: id, alias or ARN of the key. Default: the account's own key for S3. */
  readonly sseKmsKeyId?: string;
  /** One whose objects can be read at once, as `STANDARD_IA`. Default: the store's. */
  readonly storageClass?: string;
  /** A canned ACL, as `bucket-owner-full-control`. Default: the bucket's rule. */
  readonly acl?: string;
}

/** Where an S3 store is, as its URI, its options and the environment say. */
export interface S3Location {
  readonly bucket: string;
  /** Begins every key: empty, or with a slash at its end. */
  readonly prefix: string;
  /** Null: Amazon's. */
  readonly endpoint: string | null;
  /** Null: what the SDK finds (AWS_REGION, profile). */
  readonly region: string | null;
  readonly forcePathStyle: boolean;
  readonly conditionalWrites: boolean;
  readonly checksum: Checksum;
  readonly flushConcurrency: number;
  /** What each new object is kept with, under the options' names; those that were given. */
  readonly placement: S3Placement;
  /** Null: what the SDK's own chain finds. */
  readonly credentials: S3Credentials | null;
  /** The URI for messages, without options and secrets. */
  readonly shown: string;
}

export type Checksum = (typeof CHECKSUMS)[number];
export type S3Placement = { readonly [name in PlacementName]?: string };
export type PlacementName = 'sse' | 'sse-kms-key-id' | 'storage-class' | 'acl';

/** The query parameters of an S3 URI. */
export const S3_PARAMETERS = [
  'endpoint',
  'region',
  'force-path-style',
  'conditional-writes',
  'checksum',
  'flush-concurrency',
  'sse',
  'sse-kms-key-id',
  'storage-class',
  'acl',
  ...CREDENTIAL_PARAMETERS,
] as const;

/** Reads `s3://bucket/prefix?…`; unknown parameters are left to others. Throws MR_INVALID_URI, MR_INVALID_OPTION. */
export function s3LocationOf(
  url: URL,
  environment: Readonly<Record<string, string | undefined>> = process.env,
  options: S3LocationOptions = {},
): S3Location {
  if (url.username !== '' || url.password !== '') {
    const reason = "it holds credentials before an @; they come from the SDK's chain (AWS_ACCESS_KEY_ID, profile, role)";
    throw invalid(url, `${reason}, or as access-key=…&secret-access-key=…`);
  }
  if (url.host === '') throw invalid(url, 'it names no bucket');
  const given = (name: (typeof S3_PARAMETERS)[number]) => givenOf(url, options, name);
  const components = decodedPath(url)
    .split('/')
    .filter((component) => component !== '');
  const endpoint = given('endpoint') ?? (environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL'] || null);
  if (endpoint !== null && !/^https?:$/.test(protocolOf(endpoint))) {
    throw refused('endpoint', redactUrl(endpoint), 'a URL, http://… or https://…');
  }
  const region = given('region');
  // It becomes a part of a host's name.
  if (region !== null && !/^[a-z\d]([a-z\d-]*[a-z\d])?$/i.test(region)) {
    throw refused('region', region, 'letters, digits and hyphens, as eu-west-1');
  }
  // Amazon's region is looked for by the SDK; other stores rarely care, but a request is signed for one.
  const elsewhere = endpoint === null ? null : environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || 'us-east-1';
  return {
    bucket: url.host,
    prefix: components.map((component) => `${component}/`).join(''),
    endpoint,
    region: region ?? elsewhere,
    forcePathStyle: flag('force-path-style', given('force-path-style'), endpoint !== null),
    conditionalWrites: flag('conditional-writes', given('conditional-writes'), true),
    checksum: oneOf('checksum', given('checksum'), CHECKSUMS) ?? (endpoint === null ? 'crc32' : 'md5'),
    flushConcurrency: concurrency(given('flush-concurrency')),
    placement: placementOf(given),
    credentials: s3CredentialsOf(url, options),
    shown: redactUrl(`s3://${url.host}/${components.join('/')}`),
  };
}

const CHECKSUMS = ['crc32', 'md5'] as const;
const ENCRYPTIONS = ['AES256', 'aws:kms', 'aws:kms:dsse'] as const;
/** Not those of an archive: a run reads what it wrote when it starts again. */
const STORAGE_CLASSES = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'REDUCED_REDUNDANCY',
  'EXPRESS_ONEZONE',
] as const;
const ACLS = [
  'private',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
  'public-read',
  'public-read-write',
] as const;

function placementOf(given: (name: PlacementName) => string | null): S3Placement {
  const sse = oneOf('sse', given('sse'), ENCRYPTIONS);
  const keyId = given('sse-kms-key-id');
  const storageClass = oneOf('storage-class', given('storage-class'), STORAGE_CLASSES);
  const acl = oneOf('acl', given('acl'), ACLS);
  if (keyId !== null && sse !== 'aws:kms' && sse !== 'aws:kms:dsse') {
    throw refused('sse-kms-key-id', keyId, `given only with sse=aws:kms or sse=aws:kms:dsse (sse is ${sse ?? 'not given'})`);
  }
  return {
    ...(sse === null ? {} : { sse }),
    ...(keyId === null ? {} : { 'sse-kms-key-id': keyId }),
    ...(storageClass === null ? {} : { 'storage-class': storageClass }),
    ...(acl === null ? {} : { acl }),
  };
}

/** The value in the URI, else in the options; empty text counts as not given. */
function givenOf(url: URL, options: S3LocationOptions, name: string): string | null {
  const member = name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const value = url.searchParams.get(name) || (options as Readonly<Record<string, unknown>>)[member];
  return value === undefined || value === '' ? null : String(value);
}

function protocolOf(text: string): string {
  try {
    return new URL(text).protocol;
  } catch {
    return '';
  }
}

function decodedPath(url: URL): string {
  try {
    return decodeURIComponent(url.pathname);
  } catch {
    throw invalid(url, 'a % in its path begins no valid escape');
  }
}

function flag(name: string, value: string | null, byDefault: boolean): boolean {
  if (value === null) return byDefault;
  if (value === 'true' || value === 'false') return value === 'true';
  throw refused(name, value, 'true or false');
}

function concurrency(value: string | null): number {
  if (value === null) return 1;
  if (!/^-?\d+$/.test(value)) throw refused('flush-concurrency', value, 'a whole number, 1 to 512');
  return Number(value) >= 1 && Number(value) <= 512 ? Number(value) : 1;
}

function oneOf<T extends string>(name: string, value: string | null, allowed: readonly T[]): T | null {
  if (value === null) return null;
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw refused(name, value, `one of ${allowed.join(', ')}`);
  return found;
}

function refused(option: string, value: string, bound: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value, bound });
}

function invalid(url: URL, reason: string): MillraceError {
  return new MillraceError('MR_INVALID_URI', { uri: redactUrl(url.href), reason });
}
