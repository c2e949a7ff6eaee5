/** The person's exports of one counter: asked for, watched while they are built, removed. */
import { api, Problem } from '../api/client';
import type { Export, ExportRequest } from '../api/types';

const POLL_MS = 1000;

/** Whether a server still works on it. */
export const isUnfinished = (one: Export) => one.state === 'waiting' || one.state === 'running';

export class Exports {
  items = $state.raw<Export[]>([]);
  /** Why the last thing asked for was not done. */
  problem = $state.raw<Problem | null>(null);
  busy = $state(false);
  #counterId: string;
  #timer = 0;
  #open = false;

  constructor(counterId: string) {
    this.#counterId = counterId;
  }

  /** Loads, and goes on as long as something is being built. */
  open() {
    this.#open = true;
    this.problem = null;
    void this.#load();
  }

  close() {
    this.#open = false;
    clearTimeout(this.#timer);
  }

  async ask(request: ExportRequest) {
    await this.#settle(async () => {
      const one = await api.ask(request);
      this.items = [one, ...this.items];
    });
    this.#again();
  }

  async remove(one: Export) {
    await this.#settle(() => api.removeExport(one.id));
    await this.#load();
  }

  async #settle(call: () => Promise<unknown>) {
    this.busy = true;
    this.problem = null;
    try {
      await call();
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      this.problem = cause;
    } finally {
      this.busy = false;
    }
  }

  async #load() {
    clearTimeout(this.#timer);
    try {
      const { items } = await api.exports();
      this.items = items.filter((one) => one.counter_id === this.#counterId && one.state !== 'cancelled');
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      this.problem = cause;
    }
    this.#again();
  }

  #again() {
    clearTimeout(this.#timer);
    if (this.#open && this.items.some(isUnfinished)) {
      this.#timer = window.setTimeout(() => void this.#load(), POLL_MS);
    }
  }
}
