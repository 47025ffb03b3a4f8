#pragma once
// Objects pushed over HTTP. What is accepted is on disk (<root-dir>/sources/push.set)
// before the answer, and stands until it is removed by the same way.

#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/sources/manifest_source.h"
#include "agent/sources/prepare.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::sources {

struct PushRequest {
  std::string manifest;  // YAML or JSON, several documents or a List
  // POST creates: an object that was pushed before is an error (exists). PUT replaces.
  bool replace = true;
  // PUT /pods/{namespace}/{name}: the manifest must hold this object and nothing else.
  std::optional<api::ObjectKey> only;
  api::Time received;  // becomes the creation time of objects that have none
};

struct PushError {
  // invalid: the manifest; denied: the policy; exists: another source (or an earlier
  // POST) has it; unavailable: too many requests wait; failed: the disk.
  host::Error error;
  std::vector<api::Problem> problems;  // each with line and field path
};

struct Pushed {
  std::vector<api::ObjectKey> keys;
  std::vector<api::Problem> warnings;
};

using PushCallback = std::move_only_function<void(std::expected<Pushed, PushError>)>;
using RemoveCallback = std::move_only_function<void(host::Status)>;

// Loop's thread; decoding and the disk are a worker's.
class PushSource : public ManifestSource {
 public:
  // `owner` tells which other source's object of that name stands already.
  using Owner = std::function<std::optional<api::Origin>(const api::ObjectKey&)>;
  PushSource(host::Loop& loop, host::Path file, Rules rules, Owner owner);
  ~PushSource() override;
  std::string_view name() const override { return "push"; }
  // Speaks with what the disk has. A file that is damaged is set aside as push.set.damaged.
  void start(SourceListener listener) override;

  // All of the manifest or nothing. Requests are done one after the other; `done` runs
  // later, after the set has been emitted, and never once the source is gone.
  void store(PushRequest request, PushCallback done);
  // not_found when it was not pushed.
  void remove(const api::ObjectKey& key, RemoveCallback done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the worker's answer, which may come after we are gone
};

}  // namespace keelson::sources
