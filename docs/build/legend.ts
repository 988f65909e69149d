import type { Mark } from '../../lib/testing/index.ts';
import { diagramSvg } from './diagram.ts';

/** A diagram with every kind of mark. */
export function legendSvg(): string {
  const next = (frame: number, text: string): Mark => ({ frame, kind: 'next', text });
  const recording = {
    frames: 60,
    streams: [
      {
        role: 'source' as const,
        label: 'source',
        marks: [
          next(0, 'hello:orders@4#1.1'),
          next(3, 'orders@5.2..4'),
          next(5, 'users@6{id:1,name:ann>id:1,name:bob}'),
          next(7, '[users@7 res@8]'),
          next(9, 'ddl:users@9'),
          { frame: 60, kind: 'complete' as const },
        ],
      },
      {
        role: 'output' as const,
        label: 'output',
        marks: [
          next(0, 'marker:orders'),
          next(3, 'truncate:orders@5'),
          next(5, '[]'),
          next(7, 'res@8'),
          next(9, 'orders@9'),
          next(9, 'users@9'),
          { frame: 60, kind: 'error' as const },
        ],
      },
      {
        role: 'acks' as const,
        label: 'acks',
        marks: [next(3, 'enqueued:orders@5'), next(9, 'flushed:orders@9'), next(9, 'flushed:users@9')],
      },
    ],
  };
  return diagramSvg({ expression: 'operator({ option: value })', recording, title: 'Every kind of mark in a marble diagram of Millrace' });
}
