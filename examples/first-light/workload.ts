import type pg from 'pg';

/**
 * A small shop at work: `step` runs one transaction (or a few) of its daily business; the special events are called once each. Everything is
 * ordinary SQL on one connection; nothing here knows of the capture.
 */
export class Workload {
  readonly #client: pg.Client;
  transactions = 0;

  constructor(client: pg.Client) {
    this.#client = client;
  }

  /** One round of inserts, updates, deletes and key changes, each round a little different. */
  async step(): Promise<void> {
    const n = this.transactions;
    await this.#transaction([
      `INSERT INTO orders (customer_id, status, total, tags) SELECT 1 + (${n} * 37 + i) % 20000, 'new', i * 3.25, ARRAY['n${n}', 'it''s'] FROM generate_series(1, 40) i`,
      `INSERT INTO order_items SELECT id, l, 'SKU-' || l, l, 9.99 FROM (SELECT id FROM orders ORDER BY id DESC LIMIT 40) o, generate_series(1, 2) l`,
      `UPDATE customers SET credit = credit + 1.25, vip = NOT vip WHERE id % 500 = ${n % 500}`,
      `UPDATE orders SET status = 'shipped' WHERE id IN (SELECT id FROM orders WHERE status = 'new' ORDER BY id LIMIT 25)`,
      `DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE status = 'paid' ORDER BY id LIMIT 10)`,
    ]);
    await this.#transaction([
      // Key changes: a row moves to another key, one part of a composite key too; and one key changes several times in one transaction.
      `UPDATE order_items SET order_id = order_id + 10000000 WHERE (order_id, line) IN (SELECT order_id, line FROM order_items WHERE order_id < 10000000 ORDER BY 1, 2 LIMIT 3)`,
      `UPDATE order_items SET line = line + 100 WHERE (order_id, line) IN (SELECT order_id, line FROM order_items WHERE line < 100 ORDER BY 1 DESC, 2 LIMIT 2)`,
      `UPDATE documents SET views = views + 1 WHERE id % 10 = ${n % 10}`,
      `UPDATE documents SET title = 'Revised ' || title WHERE id = ${1 + (n % 100)}`,
    ]);
    await this.#transaction([`INSERT INTO audit_log (actor, action) VALUES ('shop', '{"round": ${n}}'), (NULL, NULL)`]);
    if (n % 5 === 0) await this.#transaction([`UPDATE documents SET body = body || ' revision ${n}' WHERE id = ${1 + (n % 100)}`]);
  }

  /** One transaction of several thousand rows. */
  async largeTransaction(): Promise<void> {
    await this.#transaction([
      `INSERT INTO customers (name, email, credit) SELECT 'Import ' || i, NULL, i FROM generate_series(1, 6000) i`,
      `UPDATE customers SET email = lower(name) || '@import.example' WHERE name LIKE 'Import %' AND id % 3 = 0`,
      `DELETE FROM customers WHERE name LIKE 'Import %' AND id % 7 = 0`,
    ]);
  }

  /** TRUNCATE between two inserts of one transaction. */
  async truncate(): Promise<void> {
    await this.#transaction([
      `INSERT INTO audit_log (actor, action) VALUES ('before', '{}')`,
      `TRUNCATE audit_log`,
      `INSERT INTO audit_log (actor, action) VALUES ('after', '{"kept": true}')`,
    ]);
  }

  /** A column with a constant default: PostgreSQL rewrites nothing and sends no row, the files must fill it in. */
  async addColumn(): Promise<void> {
    await this.#transaction([`ALTER TABLE orders ADD COLUMN channel text NOT NULL DEFAULT 'web shop'`]);
  }

  async #transaction(statements: readonly string[]): Promise<void> {
    await this.#client.query('BEGIN');
    for (const statement of statements) await this.#client.query(statement);
    await this.#client.query('COMMIT');
    this.transactions++;
  }
}
