/** Where the page is, over the history API. */
import { parsePath, type Route } from './routes';

class Router {
  #url = $state.raw(new URL(location.href));
  readonly route: Route = $derived(parsePath(this.#url.pathname));
  readonly query: URLSearchParams = $derived(this.#url.searchParams);
  /** Grows with each change of page, not with changes of the query. */
  visits = $state(0);

  constructor() {
    addEventListener('popstate', () => this.#arrive());
    addEventListener('click', (event) => this.#follow(event));
  }

  get address(): string {
    return this.#url.pathname + this.#url.search;
  }

  go(address: string) {
    history.pushState(null, '', address);
    this.#arrive();
  }

  replace(address: string) {
    history.replaceState(null, '', address);
    this.#arrive();
  }

  /** Changes some of the query in place; null removes a key. */
  setQuery(changes: Record<string, string | null>) {
    const url = new URL(location.href);
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === '') url.searchParams.delete(key);
      else url.searchParams.set(key, value);
    }
    if (url.href !== location.href) this.replace(url.pathname + url.search);
  }

  #arrive() {
    const before = this.#url.pathname;
    this.#url = new URL(location.href);
    if (this.#url.pathname !== before) {
      this.visits += 1;
      scrollTo(0, 0);
    }
  }

  #follow(event: MouseEvent) {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest('a');
    if (!link || link.origin !== location.origin || link.target || link.hasAttribute('download')) return;
    if (link.pathname.startsWith('/api/')) return;
    event.preventDefault();
    const address = link.pathname + link.search;
    if (address !== this.address) this.go(address);
  }
}

export const router = new Router();
