import { describe, expect, it } from '@jest/globals';
import { MillraceError } from '../../../lib/errors.ts';
import { createLogger, scrubText } from '../../../lib/runtime/logger.ts';

function logged(
  write: (logger: ReturnType<typeof createLogger>) => void,
  level: 'info' | 'debug' | 'trace' = 'info',
): { text: string; lines: Record<string, unknown>[] } {
  const chunks: string[] = [];
  write(createLogger({ level, stream: { write: (chunk) => void chunks.push(chunk) } }));
  const text = chunks.join('');
  return {
    text,
    lines: text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

describe('createLogger', () => {
  it('writes one JSON line for each call, with level, time, message and fields', () => {
    const { lines } = logged((logger) => logger.info({ rows: 3, checkpointTs: 2n ** 63n }, 'flushed'));
    expect(lines).toEqual([{ level: 'info', time: expect.any(String), msg: 'flushed', rows: 3, checkpointTs: '9223372036854775808' }]);
  });

  it('leaves out what is below its level', () => {
    expect(
      logged((logger) => {
        logger.debug({}, 'no');
        logger.warn({}, 'yes');
      }).lines.map(({ msg }) => msg),
    ).toEqual(['yes']);
  });

  it.each<[string, object]>([
    ['a field called password', { password: 'hunter2' }],
    ['a field deep inside', { source: { config: [{ dbPassword: 'hunter2' }] } }],
    ['a URL', { url: 'postgres://app:hunter2@db/shop' }],
    ['a connection string', { dsn: "host=db password='hunter2' user=app" }],
    ['a query parameter', { uri: 's3://bucket/x?secret-access-key=hunter2&region=eu' }],
    ['an error', { err: new Error('cannot reach postgres://app:hunter2@db/shop') }],
    ['the cause of an error', { err: new MillraceError('MR_STOPPED', { pipeline: 'p' }, new Error('password=hunter2')) }],
    ['a field that a driver put on an error', { err: Object.assign(new Error('x'), { connectionParameters: { password: 'hunter2' } }) }],
    ['secret keys', { accessKeyId: 'hunter2', secretAccessKey: 'hunter2', sessionToken: 'hunter2', credentials: { a: 'hunter2' } }],
  ])('keeps a secret in %s out of the log', (_, fields) => {
    expect(logged((logger) => logger.warn(fields, 'x')).text).not.toContain('hunter2');
  });

  it('keeps a secret in a message out of the log', () => {
    expect(logged((logger) => logger.error({}, 'no route to postgres://app:hunter2@db/shop')).lines[0]!['msg']).not.toContain('hunter2');
  });

  it('writes an error with code, details and causes', () => {
    const cause = new Error('disk gone');
    const [line] = logged((logger) => logger.error({ err: new MillraceError('MR_STOPPED', { pipeline: 'p' }, cause) }, 'x')).lines;
    expect(line!['err']).toMatchObject({ code: 'MR_STOPPED', details: { pipeline: 'p' }, cause: { message: 'disk gone' } });
  });

  it('writes the message of an error once, whether it stands in the message of the line or not', () => {
    const err = new MillraceError('MR_STOPPED', { pipeline: 'p' }, new Error('disk gone'));
    const { text, lines } = logged((logger) => {
      logger.error({ err }, `it ended: ${err.message}`);
      logger.error({ err }, 'it ended');
    });
    expect(
      text
        .trimEnd()
        .split('\n')
        .map((line) => line.split(err.message).length - 1),
    ).toEqual([1, 1]);
    expect(lines).toEqual([
      expect.objectContaining({ msg: `it ended: ${err.message}`, err: expect.objectContaining({ type: 'MillraceError' }) }),
      expect.objectContaining({ msg: 'it ended', err: expect.objectContaining({ message: err.message }) }),
    ]);
  });

  it.each([
    ['info', false],
    ['debug', true],
    ['trace', true],
  ] as const)(
    'at level %s, whether an error of ours comes with its stack is %s; an unknown one, its cause too, always does',
    (level, hasOwn) => {
      const ours = new MillraceError('MR_STOPPED', { pipeline: 'p' }, new TypeError('no function'));
      const { lines } = logged((logger) => {
        logger.error({ err: ours }, ours.message);
        logger.error({ err: new TypeError('unknown', { cause: ours }) }, 'x');
      }, level);
      const stack = expect.stringMatching(/^at [^\n]*logger\.spec/);
      const own = { type: 'MillraceError', code: 'MR_STOPPED', details: { pipeline: 'p' }, ...(hasOwn ? { stack } : {}) };
      const cause = { type: 'TypeError', message: 'no function', stack };
      expect(lines.map(({ err }) => err)).toEqual([
        { ...own, cause },
        { type: 'TypeError', message: 'unknown', stack, cause: { ...own, message: ours.message, cause } },
      ]);
    },
  );

  it('survives fields that contain themselves', () => {
    const loop: Record<string, unknown> = { name: 'loop' };
    loop['self'] = loop;
    expect(logged((logger) => logger.info(loop, 'x')).lines[0]).toMatchObject({ name: 'loop' });
  });
});

describe('scrubText', () => {
  it.each([
    ['plain text stays', 'plain text stays'],
    ['file:///var/lake/a@b', 'file:///var/lake/a@b'],
    ['mail to a@b.c', 'mail to a@b.c'],
  ])('leaves %j as it is', (text, expected) => {
    expect(scrubText(text)).toBe(expected);
  });
});
