#include "master/apiserver/registry.h"

#include <fmt/core.h>

#include <deque>
#include <unordered_map>

#include "master/apiserver/identity.h"
#include "master/apiserver/patching.h"
#include "master/apiserver/plan.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr int kMostTries = 64;
constexpr auto kPatience = std::chrono::seconds(10);  // for the watch to show what a failed compare told

// Kinds that a PUT may make (AllowCreateOnUpdate in Kubernetes' registries).
bool put_creates(const api::Resource& resource) {
  return &resource == &api::resource_of<api::Endpoints>() || &resource == &api::resource_of<api::Event>() ||
         &resource == &api::resource_of<api::Lease>() || &resource == &api::resource_of<api::Service>();
}

api::AnyObject to_stored(api::AnyObject object) {
  if (const auto* event = object.get_if<api::EventsEvent>()) return api::to_core(*event);
  return object;
}

}  // namespace

struct Registry::Impl : std::enable_shared_from_this<Registry::Impl> {
  Impl(Store& store, RegistryOptions options, Admission* admission)
      : store(store), options(options), planner(store, this->options, admission) {}

  using Plan = std::move_only_function<Planned(const WriteRequest&)>;  // called once for each try

  struct Attempt {
    WriteRequest request;
    Plan plan;
    Done done;
    std::string line;  // the object's key; "" of what has no name yet
    int tries = 0;
  };
  using AttemptPtr = std::shared_ptr<Attempt>;  // shared by whatever it waits for

  // Writes of one object stand in line: side by side all but one of them would be for nothing.
  void run(WriteRequest request, Plan plan, Done done) {
    const auto attempt = std::make_shared<Attempt>();
    attempt->request = std::move(request);
    attempt->plan = std::move(plan);
    attempt->done = std::move(done);
    const Attributes& asked = attempt->request.attributes;
    if (!asked.name.empty()) {
      attempt->line = store.key_of(Planner::stored(*asked.kind), asked.namespace_, asked.name);
      const auto [line, first] = lines.try_emplace(attempt->line);
      if (!first) return line->second.push_back(attempt);
    }
    go(attempt, store.fresh());
  }
  void finish(const AttemptPtr& attempt, Outcome outcome);
  void go(const AttemptPtr& attempt, bool fresh);
  void committed(const AttemptPtr& attempt, Written written, const Prepared* object, host::Result<Committed> result);
  // Events are kept for a while only: the plan gets the lease, or 0 for other kinds.
  using LeasePlan = std::move_only_function<Planned(const WriteRequest&, int64_t lease)>;
  void run_with_lease(const api::Resource& resource, WriteRequest request, LeasePlan plan, Done done);

  Store& store;
  const RegistryOptions options;
  const Planner planner;
  std::unordered_map<std::string, std::deque<AttemptPtr>> lines;  // behind the write under way, by key
};

void Registry::Impl::finish(const AttemptPtr& attempt, Outcome outcome) {
  if (const auto line = lines.find(attempt->line); line != lines.end()) {
    if (line->second.empty()) {
      lines.erase(line);
    } else {
      const AttemptPtr next = line->second.front();
      line->second.pop_front();
      // It is planned on what the write before it has made.
      store.barrier([weak = weak_from_this(), next](const host::Status&) {
        if (const auto self = weak.lock()) self->go(next, self->store.fresh());
      });
    }
  }
  attempt->done(std::move(outcome));
}

void Registry::Impl::go(const AttemptPtr& attempt, bool fresh) {
  Planned planned = attempt->plan(attempt->request);
  if (!planned || planned->nothing) {
    if (fresh) {
      if (!planned) return finish(attempt, std::unexpected(std::move(planned.error())));
      return finish(attempt, std::move(planned->written));
    }
    return store.barrier([weak = weak_from_this(), attempt](host::Status status) {
      const auto self = weak.lock();
      if (!self) return;
      if (!status) return self->finish(attempt, std::unexpected(unavailable(status.error().message)));
      self->go(attempt, true);
    });
  }
  auto object = planned->commit.object;
  store.commit(std::move(planned->commit), [weak = weak_from_this(), attempt, written = std::move(planned->written),
                                            object](host::Result<Committed> result) mutable {
    if (const auto self = weak.lock()) self->committed(attempt, std::move(written), object.get(), std::move(result));
  });
}

void Registry::Impl::committed(const AttemptPtr& attempt, Written written, const Prepared* object,
                               host::Result<Committed> result) {
  if (!result) {
    return finish(attempt, std::unexpected(result.error().code == host::Error::Code::invalid
                                               ? too_large(result.error().message)
                                               : timed_out(fmt::format("{}; whether the write happened is unknown",
                                                                       result.error().message))));
  }
  if (result->succeeded) {
    if (object != nullptr) written.version = object->version;
    return finish(attempt, std::move(written));
  }
  if (++attempt->tries == kMostTries) return finish(attempt, std::unexpected(too_many_requests()));
  store.reach(result->revision, kPatience, [weak = weak_from_this(), attempt](host::Status status) {
    const auto self = weak.lock();
    if (!self) return;
    if (!status) return self->finish(attempt, std::unexpected(unavailable(status.error().message)));
    self->go(attempt, true);
  });
}

void Registry::Impl::run_with_lease(const api::Resource& resource, WriteRequest request, LeasePlan plan, Done done) {
  auto with = [this, request = std::move(request), plan = std::move(plan)](int64_t lease, Done done) mutable {
    run(
        std::move(request),
        [plan = std::move(plan), lease](const WriteRequest& asked) mutable { return plan(asked, lease); },
        std::move(done));
  };
  if (&resource != &api::resource_of<api::Event>()) return with(0, std::move(done));
  store.lease(options.event_ttl, [weak = weak_from_this(), done = std::move(done),
                                  with = std::move(with)](host::Result<int64_t> lease) mutable {
    if (weak.expired()) return;
    if (!lease) return done(std::unexpected(unavailable(lease.error().message)));
    with(*lease, std::move(done));
  });
}

Registry::Registry(host::Loop&, Store& store, RegistryOptions options, Admission* admission)
    : impl_(std::make_shared<Impl>(store, options, admission)) {}
Registry::~Registry() = default;

void Registry::create(WriteRequest request, api::AnyObject object, Done done) {
  Impl* impl = impl_.get();
  object = to_stored(std::move(object));
  const api::Resource& resource = object.resource();
  auto plan = [impl, object = std::move(object)](const WriteRequest& request, int64_t lease) {
    return impl->planner.create(request, object, Ownership::track, lease);
  };
  impl->run_with_lease(resource, std::move(request), std::move(plan), std::move(done));
}

void Registry::update(WriteRequest request, api::AnyObject object, Done done) {
  Impl* impl = impl_.get();
  object = to_stored(std::move(object));
  const api::Resource& resource = object.resource();
  auto plan = [impl, object = std::move(object)](const WriteRequest& request, int64_t lease) -> Planned {
    const api::Resource& resource = object.resource();
    const VersionPtr current = impl->planner.current(request);
    if (!current && request.attributes.subresource.empty() && put_creates(resource) &&
        object.metadata().resource_version.empty()) {
      api::AnyObject fresh = object;
      if (fresh.metadata().name.empty()) fresh.metadata().name = request.attributes.name;
      if (fresh.metadata().name == request.attributes.name) {
        return impl->planner.create(request, std::move(fresh), Ownership::track, lease);
      }
    }
    if (!current) return std::unexpected(impl->planner.missing(request));
    if (object.metadata().resource_version.empty() && &resource == &api::resource_of<api::Lease>()) {
      return std::unexpected(
          api::invalid_status(resource, request.attributes.name,
                              {{"metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update"}}));
    }
    return impl->planner.change(request, current, object, Ownership::track, lease);
  };
  impl->run_with_lease(resource, std::move(request), std::move(plan), std::move(done));
}

void Registry::modify(WriteRequest request, Mutation change, Done done) {
  Impl* impl = impl_.get();
  const api::Resource& resource = Planner::stored(*request.attributes.kind);
  auto plan = [impl, change = std::move(change)](const WriteRequest& request, int64_t lease) -> Planned {
    const VersionPtr current = impl->planner.current(request);
    if (!current) return std::unexpected(impl->planner.missing(request));
    api::AnyObject next = current->object;
    if (auto changed = change(next); !changed) return std::unexpected(std::move(changed.error()));
    return impl->planner.change(request, current, std::move(next), Ownership::track, lease);
  };
  impl->run_with_lease(resource, std::move(request), std::move(plan), std::move(done));
}

void Registry::patch(WriteRequest request, Patch patch, Done done) {
  Impl* impl = impl_.get();
  const api::Resource& resource = Planner::stored(*request.attributes.kind);
  auto plan = [impl, patch = std::move(patch)](const WriteRequest& request, int64_t lease) -> Planned {
    const api::Resource& kind = *request.attributes.kind;
    const VersionPtr current = impl->planner.current(request);
    const bool makes = patch.type == PatchType::apply && request.attributes.subresource.empty();
    if (!current && !makes) return std::unexpected(impl->planner.missing(request));
    std::optional<api::AnyObject> view;  // as the request's version of the API shows it
    if (current) view = current->object;
    if (current && &kind != &current->object.resource()) view = api::to_events(*current->object.get_if<api::Event>());
    auto patched = apply_patch(kind, view ? &*view : nullptr, patch,
                               {.name = request.field_manager,
                                .api_version = std::string(kind.api_version),
                                .subresource = request.attributes.subresource,
                                .now = now()});
    if (!patched) return std::unexpected(std::move(patched.error()));
    api::AnyObject next = to_stored(std::move(patched->object));
    const Ownership ownership = patched->owned ? Ownership::given : Ownership::track;
    Planned planned;
    if (current) {
      planned = impl->planner.change(request, current, std::move(next), ownership, lease);
    } else {
      if (next.metadata().name.empty()) next.metadata().name = request.attributes.name;
      if (next.metadata().name != request.attributes.name) {
        return std::unexpected(
            bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})",
                                    next.metadata().name, request.attributes.name)));
      }
      planned = impl->planner.create(request, std::move(next), ownership, lease);
    }
    if (planned) planned->written.warnings = std::move(patched->warnings);
    return planned;
  };
  impl->run_with_lease(resource, std::move(request), std::move(plan), std::move(done));
}

void Registry::remove(WriteRequest request, api::DeleteOptions options, Done done) {
  Impl* impl = impl_.get();
  auto plan = [impl, options = std::move(options)](const WriteRequest& request) -> Planned {
    const VersionPtr current = impl->planner.current(request);
    if (!current) return std::unexpected(impl->planner.missing(request));
    return impl->planner.remove(request, current, options);
  };
  impl->run(std::move(request), std::move(plan), std::move(done));
}

void Registry::bind(WriteRequest request, api::Binding binding, Done done) {
  Impl* impl = impl_.get();
  auto plan = [impl, binding = std::move(binding)](const WriteRequest& request) {
    return impl->planner.bind(request, binding);
  };
  impl->run(std::move(request), std::move(plan), std::move(done));
}

}  // namespace keelson::apiserver
