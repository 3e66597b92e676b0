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
  var id, path, number, untold = [], timer, failures = 0, shown = false;
  var action = 0, acted = 0, answered = true; // the latest user action, when, and whether a callback was answered since
  var started = {}; // when the latest run of each output was asked for

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
    view("l");
  }

  function moved() {
    if (shown && location.pathname !== path) {
      view("i");
      report(300);
    }
  }

  function mark(told, age) {
    return JSON.stringify({
      i: id, p: address(), a: action, f: !answered && now() - acted < 5000 ? 1 : 0, r: age,
      v: told.map(function (one) { return [one[0], one[1], one[2], Math.round(now() - one[3]), one[4]]; })
    });
  }

  function again(told) {
    untold = told.concat(untold);
    if (failures++ < 5) report(2000);
  }

  function post() {
    if (!untold.length) return;
    var told = untold.splice(0, VIEWS), headers = {};
    headers[HEADER] = mark(told);
    fetch.call(window, prefix + SEEN, {
      method: "POST", headers: headers, keepalive: true, credentials: "same-origin"
    }).then(function () { failures = 0; }, function () { again(told); });
    if (untold.length) post();
  }

  function report(delay) {
    clearTimeout(timer);
    timer = setTimeout(post, delay);
  }

  // The name of a Dash request of this app's, "" for any other request.
  function dash(input) {
    if (typeof input !== "string") return "";
    var href = new URL(input, document.baseURI).href;
    var found = href.indexOf(prefix) === 0 && /^_dash-(layout|dependencies|update-component)(?=\?|$)/.exec(href.slice(prefix.length));
    return found ? found[1] : "";
  }

  // How old the background run is that a request polls for, in ms; nothing for the first request of a run.
  function age(input, body) {
    var output = /^\{"output":("(?:[^"\\]|\\.)*")/.exec(String(body).slice(0, 2000));
    if (!output) return;
    if (/[?&](?:cacheKey|job)=/.test(input)) return Math.round(now() - started[output[1]]) || undefined;
    started[output[1]] = now();
  }

  window.fetch = function (input, init) {
    var name = "", told = [], callback, options;
    try {
      name = id && dash(input);
      callback = name === "update-component";
      if (name) {
        options = Object.assign({}, init);
        // A GET may be answered from the browser's cache, so only a callback tells views.
        if (callback) told = untold.splice(0, VIEWS);
        options.headers = new Headers(options.headers);
        options.headers.set(HEADER, mark(told, callback ? age(input, options.body) : undefined));
      }
    } catch (error) {
      untold = told.concat(untold);
      options = undefined;
    }
    if (!options) return fetch.apply(this, arguments);
    var answer = fetch.call(this, input, options);
    if (callback) answer.then(function () { answered = true; }, function () { if (told.length) again(told); });
    return answer;
  };

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
    if (nested()) {
      id = random();
      number = 0;
      return;
    }
    show();
    if (document.readyState === "complete") report(1000);
    else addEventListener("load", function () { report(1000); });
  }

  if (document.prerendering) document.addEventListener("prerenderingchange", begin, { once: true });
  else begin();
})();
