#include "agent/sources/push_source.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

#include "agent/sources/set_file.h"
#include "api/codec.h"
#include "host/log.h"

namespace keelson::sources {

namespace {

constexpr size_t kWaitingAtMost = 64;

struct Held {
  AcceptedPtr object;    // as it was pushed, without defaults
  DocumentPtr document;  // the same as text, as it is emitted
};
using PushSet = std::map<api::ObjectKey, Held>;
using PushSetPtr = std::shared_ptr<const PushSet>;  // shared with the worker that looks at it

struct Checked {
  std::vector<std::pair<api::ObjectKey, Held>> objects;
  std::vector<api::Problem> warnings;
  std::optional<PushError> error;
};

PushError push_error(host::Error::Code code, std::string message, std::vector<api::Problem> problems = {}) {
  return {.error = {.code = code, .message = std::move(message)}, .problems = std::move(problems)};
}

// The document of each object is the object's own name, so that a later push of one replaces one.
Held hold(const api::ObjectKey& key, api::Object object) {
  Accepted raw{.object = std::move(object), .origin = {.source = "push", .document = api::to_string(key)}};
  auto document =
      std::make_shared<const Document>(Document{.name = raw.origin.document, .text = api::encode_json(raw.object)});
  return {.object = std::make_shared<const Accepted>(std::move(raw)), .document = std::move(document)};
}

// What is on disk. On a worker.
host::Result<PushSet> read_held(const host::Path& file, size_t limit) {
  auto stored = read_set(file, "push", limit);
  if (!stored) return std::unexpected(std::move(stored.error()));
  PushSet set;
  for (auto& one : *stored) {
    // The key is that of the defaulted object; the stored one may lack its namespace.
    api::Object defaulted = one.object;
    api::set_defaults(defaulted);
    const auto key = api::key_of(defaulted);
    set.emplace(key, hold(key, std::move(one.object)));
  }
  return set;
}

// Would the ledger take it? On a worker.
Checked check(const Rules& rules, const PushRequest& request, const PushSet& held) {
  Checked checked;
  if (request.manifest.size() > rules.limits.document_bytes) {
    checked.error = push_error(host::Error::Code::invalid,
                               fmt::format("the manifest is larger than {} bytes", rules.limits.document_bytes));
    return checked;
  }
  const auto prepared =
      prepare(rules, "push", std::make_shared<const Document>(Document{.name = "manifest", .text = request.manifest}));
  std::vector<api::Problem> errors;
  for (const auto& problem : prepared.problems) {
    (problem.severity == api::Problem::Severity::error ? errors : checked.warnings).push_back(problem);
  }
  if (!errors.empty()) {
    const bool denied = std::ranges::all_of(
        errors, [](const auto& error) { return error.message.starts_with("Forbidden to the source"); });
    std::string message = describe(errors.front());
    if (errors.size() > 1) message += fmt::format(" (and {} more)", errors.size() - 1);
    checked.error = push_error(denied ? host::Error::Code::denied : host::Error::Code::invalid, std::move(message),
                               std::move(errors));
    return checked;
  }
  if (prepared.objects.empty()) {
    checked.error = push_error(host::Error::Code::invalid, "the manifest holds no object");
    return checked;
  }
  if (request.only && (prepared.objects.size() != 1 || prepared.objects.front().key != *request.only)) {
    checked.error = push_error(
        host::Error::Code::invalid,
        fmt::format("the manifest must hold {} and nothing else; it holds {}{}", api::to_string(*request.only),
                    api::to_string(prepared.objects.front().key), prepared.objects.size() > 1 ? " and more" : ""));
    return checked;
  }
  // Stored as pushed: a default that a later version sets otherwise must not be frozen.
  auto decoded = api::decode_manifest(request.manifest).objects;
  for (size_t i = 0; i < decoded.size() && i < prepared.objects.size(); ++i) {
    const auto& key = prepared.objects[i].key;
    const auto before = held.find(key);
    set_created(decoded[i].object, before == held.end() ? nullptr : before->second.object, request.received);
    checked.objects.emplace_back(key, hold(key, std::move(decoded[i].object)));
  }
  return checked;
}

}  // namespace

struct PushSource::Impl : std::enable_shared_from_this<PushSource::Impl> {
  Impl(host::Loop& loop, host::Path file, Rules rules, Owner owner)
      : loop(loop), file(std::move(file)), rules(std::move(rules)), owner(std::move(owner)) {}

  using Task = std::move_only_function<void()>;

  void enqueue(Task task);
  void next();
  void read(host::Result<PushSet> stored);
  void checked(Checked result, bool replace, PushCallback done);
  std::optional<PushError> refuse(const Checked& result, bool replace) const;
  void write(PushSet changed, std::move_only_function<void(host::Status)> done);
  void emit();

  host::Loop& loop;
  const host::Path file;
  const Rules rules;
  const Owner owner;
  SourceListener listener;
  PushSetPtr set = std::make_shared<const PushSet>();
  std::deque<Task> waiting;
  bool busy = true;  // until the stored set has been read
};

void PushSource::Impl::enqueue(Task task) {
  waiting.push_back(std::move(task));
  if (!busy) next();
}

void PushSource::Impl::next() {
  busy = !waiting.empty();
  if (!busy) return;
  auto task = std::move(waiting.front());
  waiting.pop_front();
  task();
}

void PushSource::Impl::read(host::Result<PushSet> stored) {
  if (stored) {
    set = std::make_shared<const PushSet>(std::move(*stored));
  } else if (stored.error().code != host::Error::Code::not_found) {
    const std::string aside = file.string() + ".damaged";
    host::log_error("source push: {}; set aside as {}, what was pushed before is lost: push it again",
                    stored.error().message, aside);
    std::rename(file.c_str(), aside.c_str());
  }
  emit();
  next();
}

std::optional<PushError> PushSource::Impl::refuse(const Checked& result, bool replace) const {
  size_t added = 0;
  for (const auto& [key, held] : result.objects) {
    if (set->contains(key)) {
      if (!replace) {
        return push_error(host::Error::Code::exists,
                          fmt::format("{} was pushed already: PUT replaces it", api::to_string(key)));
      }
      continue;
    }
    ++added;
    if (const auto other = owner(key)) {
      return push_error(host::Error::Code::exists,
                        fmt::format("{} comes from {}: change it there", api::to_string(key), api::to_string(*other)));
    }
  }
  if (set->size() + added > rules.limits.source_objects) {
    return push_error(host::Error::Code::denied,
                      fmt::format("more than {} objects pushed: delete some", rules.limits.source_objects));
  }
  return std::nullopt;
}

void PushSource::Impl::checked(Checked result, bool replace, PushCallback done) {
  if (!result.error) result.error = refuse(result, replace);
  if (result.error) {
    done(std::unexpected(std::move(*result.error)));
    return next();
  }
  PushSet changed = *set;
  Pushed answer{.warnings = std::move(result.warnings)};
  for (auto& [key, held] : result.objects) {
    answer.keys.push_back(key);
    changed[key] = std::move(held);
  }
  write(std::move(changed), [done = std::move(done), answer = std::move(answer)](host::Status written) mutable {
    if (written) return done(std::move(answer));
    done(std::unexpected(PushError{.error = std::move(written.error())}));
  });
}

// The disk first; what it has is then the set, and is emitted before the answer.
void PushSource::Impl::write(PushSet changed, std::move_only_function<void(host::Status)> done) {
  std::vector<AcceptedPtr> objects;
  for (const auto& [key, held] : changed) objects.push_back(held.object);
  loop.offload(
      [file = file, objects = std::move(objects)] { return write_set(file, "push", objects); },
      [weak = weak_from_this(), changed = std::move(changed), done = std::move(done)](host::Status written) mutable {
        auto self = weak.lock();
        if (!self) return;
        if (written) {
          self->set = std::make_shared<const PushSet>(std::move(changed));
          self->emit();
        }
        done(std::move(written));
        self->next();
      });
}

void PushSource::Impl::emit() {
  DocumentSet emitted;
  for (const auto& [key, held] : *set) emitted.emplace(held.document->name, held.document);
  listener.spoke(std::move(emitted));
}

PushSource::PushSource(host::Loop& loop, host::Path file, Rules rules, Owner owner)
    : impl_(std::make_shared<Impl>(loop, std::move(file), std::move(rules), std::move(owner))) {}

PushSource::~PushSource() = default;

void PushSource::start(SourceListener listener) {
  impl_->listener = std::move(listener);
  const size_t limit = impl_->rules.limits.source_bytes * 4;  // JSON may be longer than the YAML it came from
  impl_->loop.offload([file = impl_->file, limit] { return read_held(file, limit); },
                      [weak = impl_->weak_from_this()](auto stored) {
                        if (auto self = weak.lock()) self->read(std::move(stored));
                      });
}

void PushSource::store(PushRequest request, PushCallback done) {
  if (impl_->waiting.size() >= kWaitingAtMost) {
    impl_->loop.post([done = std::make_shared<PushCallback>(std::move(done))] {  // post() wants it copyable
      (*done)(std::unexpected(push_error(host::Error::Code::unavailable, "too many pushes at once: try again")));
    });
    return;
  }
  impl_->enqueue([impl = impl_.get(), request = std::move(request), done = std::move(done)]() mutable {
    const bool replace = request.replace;
    impl->loop.offload(
        [rules = impl->rules, request = std::move(request), held = impl->set] { return check(rules, request, *held); },
        [weak = impl->weak_from_this(), replace, done = std::move(done)](Checked result) mutable {
          if (auto self = weak.lock()) self->checked(std::move(result), replace, std::move(done));
        });
  });
}

void PushSource::remove(const api::ObjectKey& key, RemoveCallback done) {
  if (impl_->waiting.size() >= kWaitingAtMost) {
    impl_->loop.post([done = std::make_shared<RemoveCallback>(std::move(done))] {
      (*done)(host::fail(host::Error::Code::unavailable, "too many pushes at once: try again"));
    });
    return;
  }
  impl_->enqueue([impl = impl_.get(), key, done = std::move(done)]() mutable {
    if (impl->set->contains(key)) {
      PushSet changed = *impl->set;
      changed.erase(key);
      return impl->write(std::move(changed), std::move(done));
    }
    // Later, as promised: never inside the call.
    impl->loop.post([weak = impl->weak_from_this(), key, done = std::make_shared<RemoveCallback>(std::move(done))] {
      auto self = weak.lock();
      if (!self) return;
      const auto other = self->owner(key);
      (*done)(host::fail(host::Error::Code::not_found,
                         other ? fmt::format("{} was not pushed, it comes from {}: remove it there",
                                             api::to_string(key), api::to_string(*other))
                               : fmt::format("{} was not pushed", api::to_string(key))));
      self->next();
    });
  });
}

}  // namespace keelson::sources
