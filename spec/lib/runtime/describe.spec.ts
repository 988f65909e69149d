import { expect, it, describe as suite } from '@jest/globals';
import type { Delivery } from '../../../lib/events/index.ts';
import { compose, operator } from '../../../lib/flow/index.ts';
import { stringifyJson } from '../../../lib/formats/json.ts';
import { definePipeline, describe, toMermaid } from '../../../lib/runtime/index.ts';
import { World, worldSink, worldSource, worldStore } from '../../support/run-world.ts';

const world = new World();
const pass = (name: string, options: Record<string, unknown> = {}) => operator<Delivery, Delivery>(name, options, () => (source) => source);
const definition = definePipeline({
  name: 'orders',
  source: worldSource(world),
  stages: [
    pass('filterTables', { patterns: ['public.*'] }),
    compose('mask', pass('mapRows', { table: 'public."a"', map: function hash() {} }), pass('splitKeyUpdates')),
  ],
  sink: worldSink(world),
  checkpoint: worldStore(world),
});

suite('describe', () => {
  it('prints the parts with their options as plain data, composed stages with theirs', () => {
    expect(describe(definition)).toEqual({
      name: 'orders',
      source: { name: 'world', options: { url: 'world://here' } },
      stages: [
        { name: 'filterTables', options: { patterns: ['public.*'] }, parts: [] },
        {
          name: 'mask',
          options: {},
          parts: [
            { name: 'mapRows', options: { table: 'public."a"', map: 'ƒ hash' }, parts: [] },
            { name: 'splitKeyUpdates', options: {}, parts: [] },
          ],
        },
      ],
      sink: { name: 'memory', options: { uri: 'memory://here' } },
      checkpoint: { name: 'memory' },
    });
  });

  it('carries what JSON can carry, whatever the options hold', () => {
    const options = { ts: 2n ** 60n, when: new Date(0), like: /x/, none: undefined, nothing: null, nested: [{ f: () => 1 }] };
    const odd = definePipeline({ ...definition, stages: [pass('odd', options)] });
    expect(stringifyJson(describe(odd).stages[0]!.options)).toBe(
      `{"ts":1152921504606846976,"when":${JSON.stringify(String(new Date(0)))},"like":"/x/","nothing":null,"nested":[{"f":"ƒ f"}]}`,
    );
  });
});

suite('toMermaid', () => {
  it('draws source, stages, sink and checkpoint, a composed stage as a box', () => {
    expect(toMermaid(describe(definition))).toBe(`flowchart LR
  source[("world<br/>url: world://here")]
  stage1["filterTables<br/>patterns: [#34;public.*#34;]"]
  subgraph stage2["mask"]
    stage2_1["mapRows<br/>table: public.#34;a#34;<br/>map: ƒ hash"]
    stage2_2["splitKeyUpdates"]
    stage2_1 --> stage2_2
  end
  sink[("memory<br/>uri: memory://here")]
  source --> stage1 --> stage2 --> sink
  checkpoint[/"memory"/]
  sink -. checkpoint .-> checkpoint
  checkpoint -. confirm .-> source
`);
  });
});
