/** Who is signed in. */
import { api, onSignedOut, Problem } from './api/client';
import type { Me } from './api/types';
import { router } from './routing/router.svelte';
import { href, type Route } from './routing/routes';

type State =
  { kind: 'asking' } | { kind: 'out' } | { kind: 'in'; me: Me } | { kind: 'failed'; problem: Problem };

const ROOMS: { room: string; route: Route }[] = [
  { room: 'live', route: { name: 'live' } },
  { room: 'search', route: { name: 'search' } },
  { room: 'devices', route: { name: 'devices' } },
];

/** Set while this browser may hold a session, so that a newcomer's first page asks nothing it knows to be refused. */
const HINT = 'minhquay_signed_in';

class Session {
  state = $state.raw<State>({ kind: 'asking' });
  readonly me = $derived(this.state.kind === 'in' ? this.state.me : null);
  /** The rooms of the rail, in its order. */
  readonly rooms = $derived(ROOMS.filter(({ room }) => this.me?.rooms.includes(room)));

  constructor() {
    onSignedOut(() => this.#forget());
  }

  /** Finds out at the start of the page. */
  async begin() {
    if (localStorage.getItem(HINT) === null) this.state = { kind: 'out' };
    else await this.ask();
  }

  async ask() {
    try {
      this.state = { kind: 'in', me: await api.me() };
      localStorage.setItem(HINT, '1');
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      if (cause.status === 401) this.#forget();
      else this.state = { kind: 'failed', problem: cause };
    }
  }

  async signIn(username: string, password: string) {
    await api.signIn(username, password);
    await this.ask();
  }

  async signOut() {
    // Whatever the answer, this browser is to forget.
    await api.signOut().catch(() => {});
    this.#forget();
    router.go(href({ name: 'login' }));
  }

  #forget() {
    localStorage.removeItem(HINT);
    this.state = { kind: 'out' };
  }

  /** The first room that the person may use. */
  get home(): string {
    return href(this.rooms[0]?.route ?? { name: 'not_found' });
  }
}

export const session = new Session();
