import { MillraceError } from '../errors.ts';
import { redactUrl } from '../redact.ts';

/** Where an S3 store is, as its URI and the environment say. */
export interface S3Location {
  readonly bucket: string;
  /** Begins every key: empty, or with a slash at its end. */
  readonly prefix: string;
  /** Null: Amazon's. */
  readonly endpoint: string | null;
  /** Null: what the SDK finds (AWS_REGION, profile). */
  readonly region: string | null;
  /** Whether the bucket is named in the path and not in the host. */
  readonly forcePathStyle: boolean;
  /** Whether the store honours If-None-Match. */
  readonly conditionalWrites: boolean;
  /** The URI for messages, without options and secrets. */
  readonly shown: string;
}

/** Reads `s3://bucket/prefix?…`; unknown parameters are left to others. Throws MR_INVALID_URI, MR_INVALID_OPTION. */
export function s3LocationOf(url: URL, environment: Readonly<Record<string, string | undefined>> = process.env): S3Location {
  if (url.username !== '' || url.password !== '') {
    throw invalid(url, "it holds credentials; they come from the SDK's chain (AWS_ACCESS_KEY_ID, profile, role)");
  }
  if (url.host === '') throw invalid(url, 'it names no bucket');
  const options = url.searchParams;
  const components = decodedPath(url)
    .split('/')
    .filter((component) => component !== '');
  const endpoint = options.get('endpoint') || environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL'] || null;
  if (endpoint !== null && !/^https?:$/.test(protocolOf(endpoint))) {
    throw new MillraceError('MR_INVALID_OPTION', { option: 'endpoint', value: redactUrl(endpoint), bound: 'a URL, http://… or https://…' });
  }
  // Amazon's region is looked for by the SDK; other stores rarely care, but a request is signed for one.
  const elsewhere = endpoint === null ? null : environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || 'us-east-1';
  return {
    bucket: url.host,
    prefix: components.map((component) => `${component}/`).join(''),
    endpoint,
    region: options.get('region') || elsewhere,
    forcePathStyle: flag(options, 'force-path-style', endpoint !== null),
    conditionalWrites: flag(options, 'conditional-writes', true),
    shown: redactUrl(`s3://${url.host}/${components.join('/')}`),
  };
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

function flag(options: URLSearchParams, name: string, byDefault: boolean): boolean {
  const value = options.get(name);
  if (value === null || value === '') return byDefault;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new MillraceError('MR_INVALID_OPTION', { option: name, value, bound: 'true or false' });
}

function invalid(url: URL, reason: string): MillraceError {
  return new MillraceError('MR_INVALID_URI', { uri: redactUrl(url.href), reason });
}
