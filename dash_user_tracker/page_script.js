// Tells the server which page of the app sent a request: one header on the app's own Dash requests, and one small
// post where none comes. No cookie, no storage, nothing of the page's content. Plain HTTP will do.
(function () {
  "use strict";
  var HEADER = "X-Dash-Page", SEEN = "_dut/seen";
  var ADDRESS = 600, REFERRER = 200, VIEWS = 3; // one header stays far below what servers accept
  var script = document.currentScript;
  var fetch = window.fetch;
  if (!script || !fetch || !window.Headers || !window.URL) return;
  var prefix = new URL(script.src).href.replace(/_dut\/page\.js.*$/, "");
  // Another origin would have to allow the header; and one script is enough for a page.
  if (new URL(prefix).origin !== location.origin || window["_dut " + prefix]) return;
  window["_dut " + prefix] = true;
  var id = random(), path, number = 0, untold = [], timer, failures = 0, shown = false, ours;
  var action = 0, acted = 0, answered = true; // the latest user action, when, and whether a callback was answered since
  var started = {}; // what was true when the latest run of each output was asked for
  var cancelled = {}; // jobs

  function now() { return performance.now(); }

  function random() {
    var words = new Uint32Array(2);
    crypto.getRandomValues(words);
    return Array.prototype.map.call(words, function (word) {
      return ("0000000" + word.toString(16)).slice(-8);
    }).join("");
  }

  function address() { return (location.pathname + location.search).slice(0, ADDRESS); }

  function view(kind) {
    path = location.pathname;
    untold.push([++number, kind, address(), now(), kind === "l" ? document.referrer.slice(0, REFERRER) : ""]);
  }

  // A document of the app is on the screen: loaded, or come back to.
  function show() {
    shown = true;
    id = random();
    number = 0;
    untold = [];
    view("l");
  }

  function moved() {
    wrap();
    if (shown && location.pathname !== path) {
      view("i");
      report(300);
    }
  }

  function fresh() { return !answered && now() - acted < 5000 ? 1 : 0; }

  // A request that polls for a background run says what was true when the run began.
  function mark(told, run) {
    var known = { i: id, p: run ? run.p : address(), a: run ? run.a : action, f: run ? run.f : fresh() };
    if (run) { known.r = Math.round(now() - run.t); known.c = run.c; }
    known.v = told.map(function (one) { return [one[0], one[1], one[2], Math.round(now() - one[3]), one[4]]; });
    return JSON.stringify(known);
  }

  function again(told) {
    untold = told.concat(untold);
    if (failures++ < 5) report(2000);
  }

  // The app has seen the request: not a log-in, a protection or a proxy in front of it.
  function taken(answer) { return (answer.ok || answer.status === 500) && !answer.redirected; }

  function post() {
    if (!untold.length) return;
    var told = untold.splice(0, VIEWS), headers = {};
    headers[HEADER] = mark(told);
    fetch.call(window, prefix + SEEN, {
      method: "POST", headers: headers, keepalive: true, credentials: "same-origin"
    }).then(function (answer) {
      if (taken(answer)) failures = 0;
      else again(told);
    }, function () { again(told); });
    if (untold.length) post();
  }

  function report(delay) {
    clearTimeout(timer);
    timer = setTimeout(post, delay);
  }

  // The name of a Dash request of this app's, "" for any other request.
  function dash(input) {
    var href = new URL(input instanceof Request ? input.url : String(input), document.baseURI).href;
    var found = href.indexOf(prefix) === 0 && /^_dash-(layout|dependencies|update-component)(?=\?|$)/.exec(href.slice(prefix.length));
    return found ? found[1] : "";
  }

  // The run that a request polls for; nothing for a request that begins one.
  function polled(input, body) {
    var text = String(body), end = text.indexOf('"inputs"');
    var key = text.slice(0, end < 0 ? 2000 : end), query = /[?&]cacheKey=/.test(input) && /[?&]job=([^&]*)/.exec(input);
    (/[?&]cancelJob=([^&]*)/.exec(input) || []).slice(1).forEach(function (job) { cancelled[job] = 1; });
    if (!query) started[key] = { t: now(), a: action, f: fresh(), p: address() };
    return query && started[key] && Object.assign({ c: cancelled[query[1]] || 0 }, started[key]);
  }

  // The headers in the shape they came in: an app's own wrapper may copy a plain object's properties.
  function marked(headers, text) {
    var one = {};
    one[HEADER] = text;
    if (headers instanceof Headers) {
      headers = new Headers(headers);
      headers.set(HEADER, text);
      return headers;
    }
    return Array.isArray(headers) ? headers.concat([[HEADER, text]]) : Object.assign({}, headers, one);
  }

  function isMarked(headers) { return new Headers(headers || {}).has(HEADER); }

  // Again where the app has put another fetch in the place of ours.
  function wrap() {
    if (window.fetch === ours) return;
    var inner = window.fetch;
    ours = window.fetch = function (input, init) {
      var told = [], callback, options, run, at = action, headers;
      try {
        callback = dash(input);
        headers = init && init.headers || (input instanceof Request ? new Headers(input.headers) : undefined);
        if (callback && !isMarked(headers)) {
          callback = callback === "update-component";
          options = Object.assign({}, init);
          if (callback) {
            run = polled(input instanceof Request ? input.url : String(input), options.body);
            // A GET may be answered from the browser's cache, so only a callback tells views.
            told = untold.splice(0, VIEWS);
          }
          options.headers = marked(headers, mark(told, run));
        }
      } catch (error) {
        untold = told.concat(untold);
        options = undefined;
      }
      if (!options) return inner.apply(this, arguments);
      var answer = inner.call(this, input, options);
      if (callback) answer.then(function (reply) {
        // What a timer or a poll brings is no answer to the user's action.
        if (at === action && !run && !/"changedPropIds":\["[^"]*\.n_intervals"\]/.test(String(options.body).slice(0, 20000))) answered = true;
        if (told.length && !taken(reply)) again(told);
      }, function () { if (told.length) again(told); });
      return answer;
    };
  }
  wrap();
  addEventListener("load", wrap);

  ["pushState", "replaceState"].forEach(function (name) {
    var change = history[name];
    history[name] = function () {
      var result = change.apply(this, arguments);
      try { moved(); } catch (error) { /* the app goes on */ }
      return result;
    };
  });
  addEventListener("popstate", moved);

  ["pointerdown", "keydown", "change", "submit"].forEach(function (type) {
    addEventListener(type, function (event) {
      if (!event.isTrusted || event.repeat) return;
      // A change or a submit mostly ends a press or a key that was counted already.
      if ((type === "change" || type === "submit") && now() - acted < 1000) return;
      action++;
      acted = now();
      answered = false;
    }, true);
  });

  addEventListener("pagehide", post);
  addEventListener("pageshow", function (event) {
    if (event.persisted && shown) {
      show();
      report(300);
    }
  });

  // A page inside another page of the same site is part of that page, not a view of its own.
  function nested() {
    try {
      return window.parent !== window && !!window.parent.location.href;
    } catch (error) {
      return false; // embedded in somebody else's page: people look at this one
    }
  }

  function begin() {
    if (nested()) return;
    show();
    if (document.readyState === "complete") report(1000);
    else addEventListener("load", function () { report(1000); });
  }

  if (document.prerendering) document.addEventListener("prerenderingchange", begin, { once: true });
  else begin();
})();
