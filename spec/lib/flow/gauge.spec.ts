import { describe, expect, it } from '@jest/globals';
import { Gauge } from '../../../lib/flow/index.ts';

describe('Gauge', () => {
  it('adds and releases, never below nothing', () => {
    const gauge = new Gauge();
    gauge.add(10);
    gauge.add(5);
    expect(gauge.level).toBe(15);
    gauge.release(4);
    expect(gauge.level).toBe(11);
    gauge.release(100);
    expect(gauge.level).toBe(0);
  });

  it('tells those who wait for room after a release, with the level it left', () => {
    const gauge = new Gauge();
    const levels: number[] = [];
    const stop = gauge.onRelease(() => levels.push(gauge.level));
    gauge.add(10);
    gauge.release(3);
    stop();
    gauge.release(3);
    expect(levels).toEqual([7]);
  });

  it('lets a listener stop another, or begin one, while they are told', () => {
    const gauge = new Gauge();
    const heard: string[] = [];
    const stop = gauge.onRelease(() => {
      heard.push('first');
      stop();
      gauge.onRelease(() => heard.push('second'));
    });
    gauge.release(1);
    gauge.release(1);
    expect(heard).toEqual(['first', 'second']);
  });

  it('presses those who gather, until they stop', () => {
    const gauge = new Gauge();
    let pressed = 0;
    const stop = gauge.onPressure(() => pressed++);
    gauge.press();
    stop();
    gauge.press();
    expect(pressed).toBe(1);
  });
});
