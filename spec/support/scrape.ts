/** Prometheus's text, read: the type of each metric, and the value of each series as it is written. */
export interface Scrape {
  readonly text: string;
  readonly types: ReadonlyMap<string, string>;
  readonly series: ReadonlyMap<string, number>;
}

export function parseScrape(text: string): Scrape {
  const types = new Map<string, string>();
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (name !== undefined && type !== undefined) types.set(name, type);
    else if (line !== '' && !line.startsWith('#')) {
      const space = line.lastIndexOf(' ');
      series.set(line.slice(0, space), Number(line.slice(space + 1)));
    }
  }
  return { text, types, series };
}

/** Every bound of a histogram, `+Inf` aside. */
export function boundsOf({ series }: Scrape, name: string): number[] {
  const bounds = [...series.keys()].flatMap((key) => (key.startsWith(`${name}_bucket{`) ? [/le="([^"]+)"/.exec(key)![1]!] : []));
  return bounds.filter((bound) => bound !== '+Inf').map(Number);
}
