import { openStore, type ObjectStore, STORE_PARAMETERS } from '../lib/stores/index.ts';
import { cloudStorage } from '../pipelines/index.ts';

/** Opens what `--to` names, for reading. Options of the sink in it are checked and otherwise left aside. */
export async function openTarget(uri: string): Promise<ObjectStore> {
  cloudStorage({ uri, protocol: 'canal-json' });
  return openStore(storeUriOf(uri), undefined, 'read');
}

/** A target's URI with the parameters of its store alone. */
function storeUriOf(uri: string): string {
  const at = uri.indexOf('?');
  if (at < 0) return uri;
  const known = STORE_PARAMETERS[/^[^:/?]*/.exec(uri)![0].toLowerCase()] ?? [];
  const kept = uri.slice(at + 1).split('&').filter((part) => known.includes(decodeURIComponent(part.split('=')[0]!)));
  return kept.length === 0 ? uri.slice(0, at) : `${uri.slice(0, at)}?${kept.join('&')}`;
}
