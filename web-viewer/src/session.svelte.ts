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

class Session {
  state = $state.raw<State>({ kind: 'asking' });
  readonly me = $derived(this.state.kind === 'in' ? this.state.me : null);
  /** The rooms of the rail, in its order. */
  readonly rooms = $derived(ROOMS.filter(({ room }) => this.me?.rooms.includes(room)));

  constructor() {
    onSignedOut(() => (this.state = { kind: 'out' }));
  }

  async ask() {
    try {
      this.state = { kind: 'in', me: await api.me() };
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      this.state = cause.status === 401 ? { kind: 'out' } : { kind: 'failed', problem: cause };
    }
  }

  async signIn(username: string, password: string) {
    await api.signIn(username, password);
    await this.ask();
  }

  async signOut() {
    // Whatever the answer, this browser is to forget.
    await api.signOut().catch(() => {});
    this.state = { kind: 'out' };
    router.go(href({ name: 'login' }));
  }

  /** The first room that the person may use. */
  get home(): string {
    return href(this.rooms[0]?.route ?? { name: 'not_found' });
  }
}

export const session = new Session();
