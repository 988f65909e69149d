import { describe, expect, it } from '@jest/globals';
import { map } from 'rxjs';
import type { Delivery } from '../../../lib/events/index.ts';
import { operator, type Stage } from '../../../lib/flow/index.ts';
import { definePipeline, isPipelineDefinition } from '../../../lib/runtime/index.ts';
import { World, worldSink, worldSource, worldStore } from '../../support/run-world.ts';

const world = new World();
const parts = { name: 'orders', source: worldSource(world), sink: worldSink(world), checkpoint: worldStore(world) };
const stage: Stage = operator<Delivery, Delivery>('pass', {}, () => (source) => source);

describe('definePipeline', () => {
  it('returns a frozen value that connects to nothing', () => {
    const definition = definePipeline({ ...parts, stages: [stage] });
    expect(Object.isFrozen(definition)).toBe(true);
    expect(Object.isFrozen(definition.stages)).toBe(true);
    expect(isPipelineDefinition(definition)).toBe(true);
    expect(world.log).toEqual([]);
  });

  it('does not follow changes of the array it was given, because a definition is a value', () => {
    const stages = [stage];
    const definition = definePipeline({ ...parts, stages });
    stages.push(stage);
    expect(definition.stages).toHaveLength(1);
  });

  it('needs no stages', () => {
    expect(definePipeline(parts).stages).toEqual([]);
  });

  it('checks each stage by its type', () => {
    // @ts-expect-error a plain RxJS operator has no name: `lift` gives it one.
    expect(() => definePipeline({ ...parts, stages: [stage, map((delivery: Delivery) => delivery)] })).toThrow('stages[1]');
    // @ts-expect-error an operator between other things than deliveries.
    definePipeline({ ...parts, stages: [stage, operator<Delivery, number>('count', {}, () => map(() => 1))] });
  });

  it.each<[string, object]>([
    ['name', { name: '' }],
    ['name', { name: '../x' }],
    ['name', { name: 'a/b' }],
    ['name', { name: 'x'.repeat(129) }],
    ['name', { name: undefined }],
    ['source', { source: undefined }],
    ['source', { source: { name: 'x' } }],
    ['stages', { stages: stage }],
    ['stages[0]', { stages: [null] }],
    ['sink', { sink: null }],
    ['checkpoint', { checkpoint: { load() {} } }],
  ])('refuses a wrong %s at once, by name', (option, wrong) => {
    expect(() => definePipeline({ ...parts, ...wrong } as never)).toThrow(`MR_INVALID_OPTION: option ${option} is`);
  });
});
