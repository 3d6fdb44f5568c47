// Starts the page: hands presses to actions.js and keeps what is shown fresh.

import { answered } from './tools.js';
import { state } from './shop.js';
import { act, changed, submitted } from './actions.js';
import { countUnread, keepFresh, panel, refresh, show, tick } from './view.js';

document.addEventListener('click', e => {
  const pressed = e.target.closest('[data-act]');
  if (pressed) act[pressed.dataset.act](pressed.dataset.id);
});
document.addEventListener('change', e => changed[e.target.dataset.change]?.(e.target.value));
document.addEventListener('submit', e => {
  e.preventDefault();
  submitted[e.target.dataset.submit](Object.fromEntries(new FormData(e.target)));
});
document.addEventListener('keydown', e => { if (e.key === 'Escape') answered(null) });

await refresh();
if (!state.user) state.tab = 'me';
show();
panel();
countUnread();
setInterval(keepFresh, 2500);
setInterval(tick, 1000);
