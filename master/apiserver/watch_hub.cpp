#include "master/apiserver/watch_hub.h"

#include <algorithm>
#include <random>

#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr size_t kPumpBytes = 256u << 10;              // queued at once of what a watcher is told first
constexpr auto kNearTheEnd = std::chrono::seconds(2);  // when the last bookmark goes

std::string_view name_of(Change::Type type) {
  switch (type) {
    case Change::Type::added:
      return "ADDED";
    case Change::Type::modified:
      return "MODIFIED";
    case Change::Type::deleted:
      return "DELETED";
  }
  return "";
}

}  // namespace

struct WatchHub::Watcher {
  Place self;
  Selection selection;
  View view;
  http::Stream stream;
  bool bookmarks = false;
  bool first = true;                // of a Table: the columns are still to be told
  bool dead = false;                // goes at the next sweep
  std::vector<VersionPtr> initial;  // told as ADDED, from `next` on
  size_t next = 0;
  std::optional<int64_t> initial_end;                      // a bookmark behind them says so, with this revision
  std::deque<Change> history;                              // told after them, before what is live
  std::deque<std::shared_ptr<const std::string>> backlog;  // what happened meanwhile
  size_t backlog_bytes = 0;
  host::TimePoint ends, bookmark_due;
  host::Timer timer;
  std::vector<Watcher*>* index = nullptr;

  bool behind() const { return next < initial.size() || initial_end || !history.empty() || !backlog.empty(); }
};

// The texts of one change: what it is to some (left the selection: DELETED) by how they see it.
struct WatchHub::Encodings {
  explicit Encodings(const Change& change) : change(change) {}

  std::shared_ptr<const std::string> get(Change::Type type, const View& view) {
    for (const Entry& entry : made) {
      if (entry.type == type && entry.view == view) return entry.text;
    }
    made.push_back({type, view, std::make_shared<const std::string>(view.event(name_of(type), *version(type), false))});
    return made.back().text;
  }
  // Who has left, or lost it, sees what was, at the version of the change.
  VersionPtr version(Change::Type type) {
    if (type != Change::Type::deleted) return change.object;
    if (!left) left = last_state(change);
    return left;
  }

  struct Entry {
    Change::Type type;
    View view;
    std::shared_ptr<const std::string> text;  // shared by the queues of all who get it
  };
  const Change& change;
  std::vector<Entry> made;
  VersionPtr left;
};

WatchHub::WatchHub(host::Loop& loop, Store& store, const api::Resource& resource, WatchLimits limits)
    : loop_(loop), store_(store), resource_(resource), limits_(limits) {
  store_.kind(resource_).observe(*this);
}

WatchHub::~WatchHub() { store_.kind(resource_).forget(*this); }

void WatchHub::add(const ListOptions& options, const View& view, std::vector<VersionPtr> initial, int64_t after,
                   http::Stream stream) {
  if (!stream.open()) return;
  const Place place = watchers_.emplace(watchers_.end());
  Watcher& watcher = *place;
  watcher.self = place;
  watcher.selection = options.selection;
  watcher.view = view;
  watcher.stream = std::move(stream);
  watcher.bookmarks = options.bookmarks;
  watcher.initial = std::move(initial);
  if (options.send_initial_events.value_or(false)) watcher.initial_end = after;
  store_.kind(resource_).replay(after, [&](const Change& change) { watcher.history.push_back(change); });

  const Selection& selection = watcher.selection;
  const std::string* node = selection.fields.value_of("spec.nodeName");
  if (!selection.name.empty() && (!resource_.namespaced || !selection.namespace_.empty())) {
    watcher.index = &by_key_[object_key(resource_, selection.namespace_, selection.name)];
  } else if (node != nullptr && !node->empty() && &resource_ == &api::resource_of<api::Pod>()) {
    watcher.index = &by_node_[*node];
  } else {
    watcher.index = &rest_;
  }
  watcher.index->push_back(&watcher);

  const auto now = host::Clock::now();
  // Those who do not say are sent away after half an hour or more, not all at once.
  static thread_local std::minstd_rand random{std::random_device{}()};
  watcher.ends =
      now + options.timeout.value_or(std::chrono::seconds(std::uniform_int_distribution<int>(1800, 3600)(random)));
  watcher.bookmark_due = std::min(now + limits_.bookmark_every, watcher.ends - kNearTheEnd);
  watcher.stream.on_closed([this, &watcher] { drop(watcher); });
  watcher.stream.on_drained([this, &watcher] { pump(watcher); });
  arm(watcher);
  pump(watcher);
  sweep();
}

// Tells what is to be told first as fast as it is read, however much it is.
void WatchHub::pump(Watcher& watcher) {
  while (!watcher.dead && watcher.behind() && watcher.stream.queued() < kPumpBytes) {
    std::shared_ptr<const std::string> event;
    if (watcher.next < watcher.initial.size()) {
      const VersionPtr version = std::move(watcher.initial[watcher.next++]);
      event = std::make_shared<const std::string>(
          watcher.view.event("ADDED", *version, std::exchange(watcher.first, false)));
      if (watcher.next == watcher.initial.size()) watcher.initial = {}, watcher.next = 0;
    } else if (watcher.initial_end) {
      event = std::make_shared<const std::string>(watcher.view.bookmark(*std::exchange(watcher.initial_end, {}), true));
    } else if (!watcher.history.empty()) {
      const Change change = std::move(watcher.history.front());
      watcher.history.pop_front();
      Encodings encodings(change);
      const bool was = change.previous && watcher.selection.matches(*change.previous);
      const bool is = change.type != Change::Type::deleted && watcher.selection.matches(*change.object);
      if (!was && !is) continue;
      const auto type = !is ? Change::Type::deleted : was ? Change::Type::modified : Change::Type::added;
      event = std::make_shared<const std::string>(
          watcher.view.event(name_of(type), *encodings.version(type), std::exchange(watcher.first, false)));
    } else {
      event = std::move(watcher.backlog.front());
      watcher.backlog.pop_front();
      watcher.backlog_bytes -= event->size();
    }
    if (!watcher.stream.write(std::move(event))) watcher.dead = dead_ = true;
  }
  if (!dispatching_) sweep();
}

void WatchHub::changed(const Change& change) {
  if (watchers_.empty()) return;
  Encodings encodings(change);
  dispatching_ = true;
  const auto tell = [&](const std::vector<Watcher*>& watchers) {
    for (Watcher* watcher : watchers) {
      if (!watcher->dead) deliver(*watcher, change, encodings);
    }
  };
  const auto tell_of = [&](const std::unordered_map<std::string, std::vector<Watcher*>>& index,
                           const std::string& key) {
    if (const auto found = index.find(key); found != index.end()) tell(found->second);
  };
  tell(rest_);
  if (!by_key_.empty()) tell_of(by_key_, change.key);
  if (!by_node_.empty()) {
    const std::string& before = node_of(change.previous);
    const std::string& after = node_of(change.object);
    if (!before.empty()) tell_of(by_node_, before);
    if (!after.empty() && after != before) tell_of(by_node_, after);
  }
  dispatching_ = false;
  sweep();
}

void WatchHub::deliver(Watcher& watcher, const Change& change, Encodings& encodings) {
  const bool was = change.previous && watcher.selection.matches(*change.previous);
  const bool is = change.type != Change::Type::deleted && watcher.selection.matches(*change.object);
  if (!was && !is) return;
  const auto type = !is ? Change::Type::deleted : was ? Change::Type::modified : Change::Type::added;
  // The columns of a Table come with its first event only, which therefore is nobody else's.
  const bool own = watcher.first && !watcher.behind() && watcher.view.form == View::Form::table;
  if (!watcher.behind()) watcher.first = false;
  send(watcher,
       own ? std::make_shared<const std::string>(watcher.view.event(name_of(type), *encodings.version(type), true))
           : encodings.get(type, watcher.view));
}

void WatchHub::send(Watcher& watcher, std::shared_ptr<const std::string> event) {
  // One event may be larger than the limit: it is what is behind it that counts.
  const size_t waiting = watcher.behind() ? watcher.backlog_bytes : watcher.stream.queued();
  if (waiting > 0 && waiting + event->size() > limits_.queue_bytes) {
    return end(watcher, expired("the client reads its events too slowly; list again and watch from there"));
  }
  if (watcher.behind()) {
    watcher.backlog_bytes += event->size();
    watcher.backlog.push_back(std::move(event));
    return;
  }
  if (!watcher.stream.write(std::move(event))) watcher.dead = dead_ = true;
}

void WatchHub::reset() {
  dispatching_ = true;
  for (Watcher& watcher : watchers_) {
    if (!watcher.dead) end(watcher, expired("the history of changes was lost; list again and watch from there"));
  }
  dispatching_ = false;
  sweep();
}

void WatchHub::end(Watcher& watcher, const api::Status& why) {
  (void)watcher.stream.write(error_event(why));
  watcher.stream.end();
  watcher.dead = dead_ = true;
}

void WatchHub::arm(Watcher& watcher) {
  auto due = watcher.ends;
  if (watcher.bookmarks) due = std::min(due, watcher.bookmark_due);
  watcher.timer =
      loop_.after(std::max(due - host::Clock::now(), host::Duration::zero()), [this, &watcher] { tick(watcher); });
}

void WatchHub::tick(Watcher& watcher) {
  const auto now = host::Clock::now();
  if (watcher.bookmarks && now >= watcher.bookmark_due && !watcher.behind()) {
    // All up to the store's revision has been told, so the watch can be resumed from it.
    if (!watcher.stream.write(watcher.view.bookmark(store_.revision(), false))) watcher.dead = dead_ = true;
  }
  if (now >= watcher.bookmark_due) {
    const auto last = watcher.ends - kNearTheEnd;
    watcher.bookmark_due = now < last ? std::min(now + limits_.bookmark_every, last) : host::TimePoint::max();
  }
  if (now >= watcher.ends) {
    watcher.stream.end();
    watcher.dead = dead_ = true;
  }
  if (!watcher.dead) arm(watcher);
  sweep();
}

void WatchHub::drop(Watcher& watcher) {
  watcher.dead = dead_ = true;
  if (!dispatching_) sweep();
}

void WatchHub::sweep() {
  if (!std::exchange(dead_, false)) return;
  for (auto place = watchers_.begin(); place != watchers_.end();) {
    if (!place->dead) {
      ++place;
      continue;
    }
    std::erase(*place->index, &*place);
    place->stream.on_closed(nullptr);
    place = watchers_.erase(place);
  }
  const auto no_more = [](const auto& entry) { return entry.second.empty(); };
  std::erase_if(by_key_, no_more);
  std::erase_if(by_node_, no_more);
}

}  // namespace keelson::apiserver
