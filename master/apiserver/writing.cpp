#include "master/apiserver/writing.h"

#include <fmt/core.h>

#include "api/codec.h"
#include "master/apiserver/patching.h"
#include "master/apiserver/plan.h"
#include "master/apiserver/request_body.h"
#include "master/apiserver/status.h"
#include "master/apiserver/view.h"

namespace keelson::apiserver {

namespace {

constexpr size_t kAtOnce = 32;  // deletions of a collection under way

WriteRequest request_of(const Call& call, const WriteOptions& options) {
  return {.user = call.user,
          .attributes = call.attributes,
          .field_manager = options.field_manager,
          .dry_run = options.dry_run};
}

http::Answer object_answer(const View& view, const Version& version, int code) {
  return {
      .status = code, .content_type = std::string(view.content_type()), .body = view.object(version), .headers = {}};
}

// How a create, update or patch ends.
Registry::Done respond(CallPtr call, const View& view) {
  return [call = std::move(call), view](Outcome outcome) {
    if (!outcome) return call->fail(outcome.error());
    call->name = outcome->version->object.metadata().name;
    for (std::string& warning : outcome->warnings) call->warnings.push_back(std::move(warning));
    call->answer(object_answer(view, *outcome->version, outcome->created ? 201 : 200));
  };
}

// Kinds whose deletion answers with what was deleted (ReturnDeletedObject).
bool returns_deleted(const api::Resource& resource) {
  return &resource == &api::resource_of<api::Pod>() || &resource == &api::resource_of<api::Service>() ||
         &resource == &api::resource_of<api::ServiceAccount>();
}

api::Status deleted_status(const api::Resource& resource, const api::ObjectMeta& metadata) {
  api::Status status = success();
  api::StatusDetails& details = status.details.emplace();
  details.name = metadata.name;
  details.group = resource.group;
  details.kind = resource.plural;
  details.uid = metadata.uid;
  return status;
}

http::Answer created_status() {
  http::Answer answer = answer_of(success());
  answer.status = 201;
  return answer;
}

api::Scale scale_of(const Version& version) {
  const auto& controller = *version.object.get_if<api::ReplicationController>();
  api::Scale scale;
  scale.metadata.name = controller.metadata.name;
  scale.metadata.namespace_ = controller.metadata.namespace_;
  scale.metadata.uid = controller.metadata.uid;
  scale.metadata.resource_version = controller.metadata.resource_version;
  scale.metadata.creation_timestamp = controller.metadata.creation_timestamp;
  scale.spec.replicas = controller.spec.replicas;
  scale.status.replicas = controller.status.replicas;
  for (const auto& [key, value] : controller.spec.selector) {
    if (!scale.status.selector.empty()) scale.status.selector += ',';
    scale.status.selector += fmt::format("{}={}", key, value);
  }
  return scale;
}

std::expected<void, api::Status> apply_scale(const api::Scale& scale, const std::string& name, api::AnyObject& object) {
  const int32_t replicas = scale.spec.replicas.value_or(0);
  if (replicas < 0) {
    return std::unexpected(api::invalid_status(
        api::resource_of<api::Scale>(), name,
        {{"spec.replicas", fmt::format("Invalid value: {}: must be greater than or equal to 0", replicas)}}));
  }
  object.get_if<api::ReplicationController>()->spec.replicas = replicas;
  // What the sender saw is the condition of the write.
  if (!scale.metadata.resource_version.empty()) object.metadata().resource_version = scale.metadata.resource_version;
  if (!scale.metadata.uid.empty()) object.metadata().uid = scale.metadata.uid;
  return {};
}

Registry::Done respond_scale(CallPtr call) {
  return [call = std::move(call)](Outcome outcome) {
    if (!outcome) return call->fail(outcome.error());
    call->answer({.body = api::encode_json(scale_of(*outcome->version)), .headers = {}});
  };
}

std::expected<Patch, api::Status> read_patch(const Call& call, const WriteOptions& options) {
  auto type = patch_type_of(call.request);
  if (!type) return std::unexpected(std::move(type.error()));
  const auto invalid = [](std::string field, std::string_view reason, std::string message) {
    api::Status status =
        failure(422, "Invalid", fmt::format("PatchOptions.meta.k8s.io \"\" is invalid: {}: {}", field, message));
    api::StatusDetails& details = status.details.emplace();
    details.group = "meta.k8s.io";
    details.kind = "PatchOptions";
    details.causes.push_back({.reason = std::string(reason), .message = std::move(message), .field = std::move(field)});
    return std::unexpected(std::move(status));
  };
  if (*type == PatchType::apply && !options.names_manager) {
    return invalid("fieldManager", "FieldValueRequired", "Required value: is required for apply patch");
  }
  if (*type != PatchType::apply && options.force) {
    return invalid("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch");
  }
  return Patch{.type = *type, .body = call.request.body, .force = options.force, .strictness = options.strictness};
}

}  // namespace

void Writing::create(CallPtr call) {
  auto options = parse_write_options("CreateOptions", call->request);
  if (!options) return call->fail(options.error());
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  auto body = read_object_body(*call->attributes.kind, call->request, options->strictness);
  if (!body) return call->fail(body.error());
  call->warnings = std::move(body->warnings);
  call->name = body->object.metadata().name;
  WriteRequest request = request_of(*call, *options);
  registry_.create(std::move(request), std::move(body->object), respond(std::move(call), *view));
}

void Writing::update(CallPtr call) {
  auto options = parse_write_options("UpdateOptions", call->request);
  if (!options) return call->fail(options.error());
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  auto body = read_object_body(*call->attributes.kind, call->request, options->strictness);
  if (!body) return call->fail(body.error());
  call->warnings = std::move(body->warnings);
  WriteRequest request = request_of(*call, *options);
  registry_.update(std::move(request), std::move(body->object), respond(std::move(call), *view));
}

void Writing::patch(CallPtr call) {
  auto options = parse_write_options("PatchOptions", call->request);
  if (!options) return call->fail(options.error());
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  auto patch = read_patch(*call, *options);
  if (!patch) return call->fail(patch.error());
  WriteRequest request = request_of(*call, *options);
  registry_.patch(std::move(request), std::move(*patch), respond(std::move(call), *view));
}

void Writing::remove(CallPtr call) {
  auto options = read_delete_options(call->request);
  if (!options) return call->fail(options.error());
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  WriteRequest request = request_of(*call, {.dry_run = !options->dry_run.empty(), .field_manager = {}});
  const bool foreground = options->propagation_policy == "Foreground" || options->orphan_dependents == false;
  registry_.remove(
      std::move(request), std::move(*options), [call = std::move(call), view = *view, foreground](Outcome outcome) {
        if (!outcome) return call->fail(outcome.error());
        const Version& version = *outcome->version;
        const api::Resource& resource = version.object.resource();
        if (outcome->deleted && !returns_deleted(resource)) {
          return call->answer(answer_of(deleted_status(*call->attributes.kind, version.object.metadata())));
        }
        call->answer(object_answer(view, version, !outcome->deleted && foreground ? 202 : 200));
      });
}

// ---- collections ---------------------------------------------------------------------------

struct Writing::Collection {
  CallPtr call;
  View view;
  api::DeleteOptions options;
  std::vector<VersionPtr> items;
  size_t next = 0, under_way = 0;
  std::optional<api::Status> failed;  // the first one
};

void Writing::remove_collection(CallPtr call) {
  auto options = read_delete_options(call->request);
  if (!options) return call->fail(options.error());
  auto which = parse_list_options(call->attributes, call->request);
  if (!which) return call->fail(which.error());
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  auto collection = std::make_shared<Collection>();  // shared by the deletions under way
  collection->options = std::move(*options);
  collection->view = *view;
  reading_.when_new_enough(std::move(call), std::nullopt,
                           [this, collection, selection = std::move(which->selection)](const CallPtr& call) {
                             collection->call = call;
                             collection->items = reading_.select(Planner::stored(*call->attributes.kind), selection);
                             next_of(collection);
                           });
}

void Writing::next_of(const std::shared_ptr<Collection>& collection) {
  Collection& c = *collection;
  while (!c.failed && c.next < c.items.size() && c.under_way < kAtOnce) {
    const api::ObjectMeta& metadata = c.items[c.next++]->object.metadata();
    WriteRequest request = request_of(*c.call, {.dry_run = !c.options.dry_run.empty(), .field_manager = {}});
    request.attributes.namespace_ = metadata.namespace_;
    request.attributes.name = metadata.name;
    ++c.under_way;
    registry_.remove(std::move(request), c.options, [this, collection](Outcome outcome) {
      --collection->under_way;
      if (!outcome && outcome.error().code != 404 && !collection->failed) collection->failed = outcome.error();
      // Answered within the call, it is the loop above that goes on.
      if (collection->under_way < kAtOnce) next_of(collection);
    });
  }
  if (c.under_way > 0 || !c.call || (!c.failed && c.next < c.items.size())) return;
  const CallPtr call = std::exchange(c.call, nullptr);
  if (c.failed) return call->fail(*c.failed);
  std::string body;
  api::ListMeta metadata;
  metadata.resource_version = std::to_string(store_.revision());
  c.view.append_head(body, metadata);
  for (size_t i = 0; i < c.items.size(); ++i) {
    if (i > 0) body += ',';
    c.view.append_item(body, *c.items[i]);
  }
  body += "]}";
  call->answer(
      {.content_type = std::string(c.view.content_type()), .body = c.view.finish(std::move(body)), .headers = {}});
}

// ---- subresources ----------------------------------------------------------------------------

void Writing::bind(CallPtr call) {
  auto options = parse_write_options("CreateOptions", call->request);
  if (!options) return call->fail(options.error());
  auto body = read_object_body(api::resource_of<api::Binding>(), call->request, options->strictness);
  if (!body) return call->fail(body.error());
  auto& binding = *body->object.get_if<api::Binding>();
  Attributes& attributes = call->attributes;
  WriteRequest request = request_of(*call, *options);
  // POST bindings names the Pod within; pods/x/binding need not.
  if (request.attributes.name.empty()) {
    request.attributes.name = binding.metadata.name;
    request.attributes.resource = "pods";
    request.attributes.subresource = "binding";
  }
  request.attributes.kind = &api::resource_of<api::Pod>();
  call->name = request.attributes.name;
  if (!binding.metadata.name.empty() && binding.metadata.name != request.attributes.name) {
    return call->fail(bad_request("name in URL does not match name in Binding object"));
  }
  if (!binding.metadata.namespace_.empty() && binding.metadata.namespace_ != attributes.namespace_) {
    return call->fail(
        bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  }
  registry_.bind(std::move(request), std::move(binding), [call = std::move(call)](Outcome outcome) {
    if (!outcome) return call->fail(outcome.error());
    call->answer(created_status());
  });
}

void Writing::evict(CallPtr call) {
  auto options = parse_write_options("CreateOptions", call->request);
  if (!options) return call->fail(options.error());
  auto body = read_object_body(api::resource_of<api::Eviction>(), call->request, Strictness::ignore);
  if (!body) return call->fail(body.error());
  auto& eviction = *body->object.get_if<api::Eviction>();
  if (!eviction.metadata.name.empty() && eviction.metadata.name != call->attributes.name) {
    return call->fail(bad_request("name in URL does not match name in Eviction object"));
  }
  api::DeleteOptions how;
  if (eviction.delete_options) how = *eviction.delete_options;
  WriteRequest request = request_of(*call, *options);
  request.dry_run = request.dry_run || !how.dry_run.empty();
  registry_.remove(std::move(request), std::move(how), [call = std::move(call)](Outcome outcome) {
    if (!outcome) return call->fail(outcome.error());
    call->answer(created_status());
  });
}

void Writing::get_scale(CallPtr call) {
  reading_.when_new_enough(std::move(call), std::nullopt, [this](const CallPtr& call) {
    const Attributes& asked = call->attributes;
    const VersionPtr found = store_.find(*asked.kind, asked.namespace_, asked.name);
    if (!found) return call->fail(not_found(subject_of(*asked.kind, asked.name)));
    call->answer({.body = api::encode_json(scale_of(*found)), .headers = {}});
  });
}

void Writing::update_scale(CallPtr call) {
  auto options = parse_write_options("UpdateOptions", call->request);
  if (!options) return call->fail(options.error());
  auto body = read_object_body(api::resource_of<api::Scale>(), call->request, options->strictness);
  if (!body) return call->fail(body.error());
  WriteRequest request = request_of(*call, *options);
  const std::string name = request.attributes.name;
  registry_.modify(
      std::move(request),
      [scale = std::move(*body->object.get_if<api::Scale>()), name](api::AnyObject& object) {
        return apply_scale(scale, name, object);
      },
      respond_scale(std::move(call)));
}

void Writing::patch_scale(CallPtr call) {
  auto options = parse_write_options("PatchOptions", call->request);
  if (!options) return call->fail(options.error());
  auto patch = read_patch(*call, *options);
  if (!patch) return call->fail(patch.error());
  WriteRequest request = request_of(*call, *options);
  const std::string name = request.attributes.name;
  const std::string manager = request.field_manager;
  registry_.modify(
      std::move(request),
      [patch = std::move(*patch), name, manager](api::AnyObject& object) -> std::expected<void, api::Status> {
        const api::AnyObject scale(scale_of(Version{object, 0, 0, {}, 0}));
        auto patched = apply_patch(api::resource_of<api::Scale>(), &scale, patch,
                                   {.name = manager, .api_version = "autoscaling/v1", .subresource = {}, .now = {}});
        if (!patched) return std::unexpected(std::move(patched.error()));
        return apply_scale(*patched->object.get_if<api::Scale>(), name, object);
      },
      respond_scale(std::move(call)));
}

}  // namespace keelson::apiserver
