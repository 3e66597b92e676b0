// Tells the server which page of the app sent a request: one header on the app's own Dash requests, and one small
// post where none comes. No cookie, no storage, nothing of the page's content. Plain HTTP will do.
//
// This is the source. Browsers get page_script.min.js; `tox -e script` makes it. What the header says is read in
// marks.py. Written for browsers from 2020 on: in an older one it does not run, and the server counts alone.
{
  const HEADER = "X-Dash-Page";
  const prefix = document.currentScript?.src.split("_dut/page.js")[0];
  // Another origin would have to allow the header; and one script is enough for a page.
  if (prefix?.startsWith(location.origin + "/") && !history[prefix]) {
    history[prefix] = true;
    const native = fetch;
    const now = Date.now;
    const random = () => crypto.getRandomValues(new Uint32Array(3)).join("");
    const address = () => (location.pathname + location.search).slice(0, 600); // some servers take 4 KB of headers
    const starts = {}; // what was true when the latest run of each output was asked for
    let id = random(), path, number = 0, untold = [], timer, ours, open = 0, cancelled = "";
    let action = 0, acted = 0, answered = 0; // the latest user action, when, and the latest with an answer

    const report = (delay) => {
      clearTimeout(timer);
      timer = setTimeout(post, delay);
    };

    // The newest first. The last item counts how often it was told in vain.
    const view = (delay) => {
      path = location.pathname;
      untold.unshift([++number, address(), now(), number < 2 ? document.referrer.slice(0, 200) : "", 0]);
      report(delay);
    };

    // Async, so that nothing it may raise reaches the app; it runs at once all the same.
    const moved = async () => {
      wrap();
      // In a tab behind nobody sees where the app goes by itself: it counts where they find it.
      if (path && location.pathname != path && !document.hidden) view(300);
    };

    const page = () => ({ i: id, p: address(), a: action, f: answered < action && now() - acted < 5000, t: now() });

    // The headers in the shape they came in: an app's own wrapper may copy a plain object's properties.
    const marked = (headers, known, told) => {
      const pair = [
        HEADER,
        JSON.stringify({ ...known, p: told[0]?.[1] == known.p ? 0 : known.p, n: now(), v: told }),
      ];
      return headers instanceof Headers
        ? new Headers([...headers, pair])
        : Array.isArray(headers)
          ? [...headers, pair]
          : { ...headers, [HEADER]: pair[1] };
    };

    const settle = async (answer, told, at, body) => {
      const from = id;
      let taken;
      open++;
      try {
        const reply = await answer;
        // The app has seen the request: not a log-in, a protection or a proxy in front of it.
        taken = (reply.ok || reply.status == 500) && !reply.redirected;
        // What a timer brings is no answer to the user's action.
        if (at == action && !/Ids":\["[^"]*\.n_intervals"]/.test(body)) answered = at;
      } catch {}
      open--;
      // What failed before the page was put away and restored would be told as the restored page's.
      if (told[0] && !taken && from == id) {
        untold.push(...told);
        if (told[0][4]++ < 5) report(2000);
      }
    };

    const post = () => {
      const told = untold.splice(0, 2);
      if (told[0]) {
        settle(native(prefix + "_dut/seen", { method: "POST", headers: marked(0, page(), told), keepalive: true }), told);
        post();
      }
    };

    // Again where the app has put another fetch in the place of ours.
    const wrap = () => {
      if (fetch == ours) return;
      const inner = fetch;
      window.fetch = ours = function (...args) {
        let told = [], known, body, at = -1;
        try {
          const [input, init = {}] = args;
          const headers = init.headers || input.headers;
          const [before, name] = new URL(input.url || input, document.baseURI).href.split(prefix + "_dash-");
          if (!before && name && !new Headers(headers).has(HEADER)) {
            known = page();
            // A GET may be answered from the browser's cache, so only a callback (_dash-update-component) tells views.
            if (name[0] == "u") {
              body = String(init.body);
              const key = body.split('"inputs"')[0];
              const job = /\bjob=([^&]*)/.exec(name);
              if (/cancelJob/.test(name)) cancelled += name + "&";
              if (job) {
                // A poll for a background run says what was true when the run began.
                known = { ...known, t: null, ...starts[key], c: cancelled.includes("cancelJob=" + job[1] + "&") };
              } else {
                starts[key] = known;
                at = action;
                // Browsers have six connections: a seventh request waits, and is forgotten where the person leaves.
                if (open < 6) told = untold.splice(0, 2);
              }
            }
            args[1] = { ...init, headers: marked(headers, known, told) };
          }
        } catch {
          untold.push(...told);
          told = [];
        }
        const answer = inner.apply(this, args);
        if (known) settle(answer, told, at, body);
        return answer;
      };
    };
    wrap();

    ["pushState", "replaceState"].map((name) => {
      const change = history[name];
      history[name] = function (...args) {
        const result = change.apply(this, args);
        moved();
        return result;
      };
    });

    ["pointerdown", "keydown", "change", "submit"].map((type) =>
      addEventListener(
        type,
        (event) => {
          // A change or a submit mostly ends a press or a key that was counted already.
          if (event.isTrusted && !event.repeat && (/down/.test(type) || now() - acted > 999)) {
            action++;
            acted = now();
          }
        },
        true,
      ),
    );

    addEventListener("popstate", moved);
    addEventListener("load", () => {
      wrap();
      report(1000);
    });
    addEventListener("pagehide", post);
    addEventListener("pageshow", (event) => {
      if (event.persisted && path) {
        id = random();
        number = 0;
        untold = [];
        view(300);
      }
    });

    const begin = (event) => {
      moved();
      // Fetched ahead, or in a tab behind: a view when it is shown, if ever. A page in a frame of the same origin is
      // part of the page around it; one that somebody else's page embeds counts, and has no frameElement.
      if (path || document.prerendering || document.hidden || frameElement) return;
      view(event ? 1000 : 10000);
      // An error page is no view; what the person reaches from it without a load may be one.
      if (performance.getEntriesByType("navigation")[0]?.responseStatus > 399) untold = [];
    };
    // Captured, because not every browser lets them rise to the window.
    addEventListener("prerenderingchange", begin, true);
    addEventListener("visibilitychange", begin, true);
    begin();
  }
}
