/** The language of the page: remembered in this browser, changed without a reload. */
import { getLocale, overwriteGetLocale, setLocale, type Locale } from '../paraglide/runtime';

class Language {
  current = $state<Locale>(getLocale());

  constructor() {
    // Every message asks for the locale when it is drawn, so reading a rune here redraws them all.
    overwriteGetLocale(() => this.current);
  }

  use(locale: Locale) {
    void setLocale(locale, { reload: false });
    this.current = locale;
  }
}

export const language = new Language();
