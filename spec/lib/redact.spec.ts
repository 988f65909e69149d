import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { redactUrl } from '../../lib/redact.ts';

describe('redactUrl', () => {
  it.each([
    ['postgres://app:secret@db:5432/shop', 'postgres://app:***@db:5432/shop'],
    ['postgresql://app@db/shop', 'postgresql://app@db/shop'],
    ['postgres://db/shop', 'postgres://db/shop'],
    ['postgres://app:p@ss@db/shop', 'postgres://app:***@db/shop'],
    // Whatever may belong to the password goes, and with it what stands between.
    ['postgres://app:p@db/shop?options=a@b', 'postgres://app:***@b'],
    ['postgres://:secret@db/shop', 'postgres://:***@db/shop'],
    ['postgres://db/shop?user=app&password=secret&sslmode=require', 'postgres://db/shop?user=app&password=***&sslmode=require'],
    ['postgres://app:p/a?s#s@db/shop', 'postgres://app:***@db/shop'],
    ['postgres://app:p@x/y@db/shop', 'postgres://app:***@db/shop'],
    ['postgres://app:12/34@db/shop', 'postgres://app:***@db/shop'],
    ['postgres://app:se cret@db:x/shop', 'postgres://app:***@db:x/shop'],
    ['postgres://app:100%@db/shop', 'postgres://app:***@db/shop'],
    ['host=db user=app password=secret dbname=shop', 'host=db user=app password=*** dbname=shop'],
    ["host=db password = 'se cr\\'et' user=app", 'host=db password = *** user=app'],
    ['s3://bucket/prefix', 's3://bucket/prefix'],
    ['s3://bucket/a@b?region=x', 's3://bucket/a@b?region=x'],
    ['s3://AKIAKEY:secret@bucket/x', 's3://***@bucket/x'],
    ['s3://b/x?access-key=AKIA&secret-access-key=s%2Fs&region=r', 's3://b/x?access-key=***&secret-access-key=***&region=r'],
    ['s3://b/x?session-token=abc', 's3://b/x?session-token=***'],
    // Whoever reads the URI decodes names, so they are decoded here.
    ['s3://b/x?%73ecret%2Daccess%2Dkey=abc&region=r', 's3://b/x?%73ecret%2Daccess%2Dkey=***&region=r'],
    ['s3://b/x?secret-access-key=a+b/c==&region=r', 's3://b/x?secret-access-key=***&region=r'],
    ['s3://b/x?secret-access-key=a;b#c d&region=r', 's3://b/x?secret-access-key=***&region=r'],
    ['s3://b/x?region=secret-access-key=abc', 's3://b/x?region=secret-access-key=***'],
    ['s3://b/x?endpoint=http://u:p@host:9000&region=r', 's3://b/x?endpoint=http://***@host:9000&region=r'],
    ['s3://b/x?endpoint=http%3A%2F%2Fu%3Ap%40host%3A9000', 's3://b/x?endpoint=http://***@host:9000'],
    ['s3://b/x?endpoint=http%3A%2F%2Fhost%3A9000', 's3://b/x?endpoint=http%3A%2F%2Fhost%3A9000'],
    ['https://token@host/x', 'https://***@host/x'],
    ['file:///tmp/a:b@c/out', 'file:///tmp/a:b@c/out'],
    ['', ''],
    ['no url at all', 'no url at all'],
  ])('shows %s as %s', (text, shown) => {
    expect(redactUrl(text)).toBe(shown);
  });

  it('never shows a password, whatever characters it is made of', () => {
    const password = fc
      .string({ unit: fc.constantFrom(...'ab1/@:?#&=% %2F\'"\\'), minLength: 1, maxLength: 12 })
      .map((text) => `XSTART${text}XEND`);
    fc.assert(
      fc.property(password, fc.constantFrom('db', 'db:5432', '[::1]:5432', ''), (secret, host) => {
        const shown = redactUrl(`postgres://app:${secret}@${host}/shop`);
        expect(shown).not.toContain('XSTART');
        expect(shown).not.toContain('XEND');
      }),
      { numRuns: 2000 },
    );
  });
});
