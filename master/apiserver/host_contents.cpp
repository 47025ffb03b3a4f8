#include "master/apiserver/host_contents.h"

#include <fmt/core.h>

#include <map>
#include <set>

#include "host/log.h"
#include "master/apiserver/pod_references.h"

namespace keelson::apiserver {

namespace {

constexpr size_t kWritesAtOnce = 64;

// "configmaps/default/web"
std::vector<std::string> contents_of(const api::Pod& pod) {
  std::vector<std::string> contents;
  const PodReferences references = references_of(pod.spec);
  for (const std::string& name : references.config_maps) {
    contents.push_back(fmt::format("configmaps/{}/{}", pod.metadata.namespace_, name));
  }
  for (const std::string& name : references.secrets) {
    contents.push_back(fmt::format("secrets/{}/{}", pod.metadata.namespace_, name));
  }
  return contents;
}

}  // namespace

struct HostContents::Impl : std::enable_shared_from_this<HostContents::Impl> {
  // A change of Pods, and one of what they name.
  struct OfPods : Observer {
    explicit OfPods(Impl& impl) : impl(impl) {}
    void changed(const Change& change) override { impl.pod_changed(change); }
    void reset() override { impl.anew(); }
    Impl& impl;
  };
  struct OfContents : Observer {
    explicit OfContents(Impl& impl) : impl(impl) {}
    void changed(const Change& change) override {
      impl.content_changed(fmt::format("{}/{}", change.object->object.resource().plural, change.key));
    }
    void reset() override { impl.anew(); }
    Impl& impl;
  };

  explicit Impl(Store& store) : store(store), of_pods(*this), of_contents(*this) {
    store.kind(api::resource_of<api::Pod>()).observe(of_pods);
    store.kind(api::resource_of<api::ConfigMap>()).observe(of_contents);
    store.kind(api::resource_of<api::Secret>()).observe(of_contents);
  }
  ~Impl() {
    store.kind(api::resource_of<api::Pod>()).forget(of_pods);
    store.kind(api::resource_of<api::ConfigMap>()).forget(of_contents);
    store.kind(api::resource_of<api::Secret>()).forget(of_contents);
  }

  void begin();
  // Before all is there, begin() is still to come.
  void anew() {
    if (store.ready()) begin();
  }
  void pod_changed(const Change& change);
  void content_changed(const std::string& content);
  void count(const VersionPtr& version, int by);
  void pump();
  void settle(const std::string& key);

  Store& store;
  OfPods of_pods;
  OfContents of_contents;
  std::map<std::string, std::map<std::string, int>> wanted;  // by content and node: by how many Pods
  std::set<std::string> due;                                 // keys to look at
  std::set<std::string> under_way;
};

// Everything anew, from what the cache holds.
void HostContents::Impl::begin() {
  wanted.clear();
  for (const auto& [key, version] : store.kind(api::resource_of<api::Pod>()).objects()) count(version, 1);
  for (const auto& [key, revision] : store.copies()) due.insert(key);
  pump();
}

void HostContents::Impl::count(const VersionPtr& version, int by) {
  const std::string& node = node_of(version);
  if (node.empty()) return;
  for (const std::string& content : contents_of(*version->object.get_if<api::Pod>())) {
    auto& nodes = wanted[content];
    if ((nodes[node] += by) == 0) nodes.erase(node);
    if (nodes.empty()) wanted.erase(content);
    due.insert(fmt::format("{}{}/{}", kHosts, node, content));
  }
}

void HostContents::Impl::pod_changed(const Change& change) {
  const bool gone = change.type == Change::Type::deleted;
  // A Pod's references never change while it is bound, so most changes change nothing here.
  if (!gone && change.previous && node_of(change.previous) == node_of(change.object)) return;
  if (change.previous) count(change.previous, -1);
  if (!gone) count(change.object, 1);
  pump();
}

void HostContents::Impl::content_changed(const std::string& content) {
  const auto found = wanted.find(content);
  if (found == wanted.end()) return;
  for (const auto& [node, pods] : found->second) due.insert(fmt::format("{}{}/{}", kHosts, node, content));
  pump();
}

void HostContents::Impl::pump() {
  if (!store.ready()) return;
  for (auto key = due.begin(); key != due.end() && under_way.size() < kWritesAtOnce;) {
    if (under_way.contains(*key)) {
      ++key;  // looked at again once that is done
      continue;
    }
    const std::string next = *key;
    key = due.erase(key);
    settle(next);
  }
}

void HostContents::Impl::settle(const std::string& key) {
  const size_t node_end = key.find('/', kHosts.size());
  const std::string node = key.substr(kHosts.size(), node_end - kHosts.size());
  const std::string content = key.substr(node_end + 1);
  const auto nodes = wanted.find(content);
  VersionPtr version;
  if (nodes != wanted.end() && nodes->second.contains(node)) {
    const size_t kind_end = content.find('/');
    const api::Resource* resource = api::find_resource("", "v1", content.substr(0, kind_end));
    version = store.kind(*resource).find(content.substr(kind_end + 1));
  }
  const auto copy = store.copies().find(key);
  Commit commit;
  if (version) {
    // Written since the object was: it is a copy of it.
    if (copy != store.copies().end() && copy->second > version->revision) return;
    api::AnyObject object = version->object;
    object.metadata().resource_version.clear();
    object.metadata().managed_fields.clear();
    commit.operations.emplace_back(etcd::Put{.key = key, .value = api::encode_json(object)});
  } else {
    if (copy == store.copies().end()) return;
    commit.operations.emplace_back(etcd::Delete{.key = key});
  }
  under_way.insert(key);
  store.commit(std::move(commit), [weak = weak_from_this(), key](host::Result<Committed> result) {
    const auto self = weak.lock();
    if (!self) return;
    if (!result) {
      host::log_warning("store: {}: {}, trying again", key, result.error().message);
      self->due.insert(key);
    }
    // Its own event has to be seen before the key is looked at again.
    self->store.reach(result ? result->revision : 0, std::chrono::seconds(10), [weak, key](const host::Status&) {
      const auto self = weak.lock();
      if (!self) return;
      self->under_way.erase(key);
      self->pump();
    });
  });
}

HostContents::HostContents(Store& store) : impl_(std::make_shared<Impl>(store)) {
  store.when_ready([weak = std::weak_ptr(impl_)] {
    if (const auto impl = weak.lock()) impl->begin();
  });
}
HostContents::~HostContents() = default;

}  // namespace keelson::apiserver
