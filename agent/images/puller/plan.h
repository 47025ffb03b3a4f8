#pragma once
// One image on its way into the store: what it is called, its documents, and where
// each layer's bytes come from; and the work of getting the layers, up to three at a
// time. Runs in the puller.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/images/layer_record.h"
#include "agent/images/manifest.h"
#include "agent/images/puller/stream.h"
#include "agent/images/puller/unpack.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

struct LayerJob {
  ExpectedLayer expected;
  std::function<host::Result<std::unique_ptr<ByteSource>>()> open;  // any thread; may be called again
};

struct ImagePlan {
  std::vector<std::string> names;  // normalised; what it will be found by
  std::vector<Digest> digests;     // of its index and manifest, for name@digest; the asked-for one first
  std::string manifest;            // text; empty for a docker archive
  std::string config;              // text; its sha256 is the image's id
  std::vector<LayerJob> layers;    // lowest first
};

// Where manifests, configs and layers are had by descriptor: a registry, an OCI layout.
class ContentSource {
 public:
  virtual ~ContentSource() = default;
  // A small document, already checked against its digest and size.
  virtual host::Result<std::string> document(const Descriptor& descriptor, bool manifest) = 0;
  virtual host::Result<std::unique_ptr<ByteSource>> layer(const Descriptor& descriptor) = 0;
};

// Follows indexes (three deep at most) from the document down to the manifest for the
// platform, reads its config, and lists its layers. `source` is borrowed by the plan.
host::Result<ImagePlan> plan_image(ContentSource& source, const Descriptor& top, std::string top_text,
                                   const Platform& platform);
// The content has the digest and size of its descriptor.
host::Status check_document(const Descriptor& descriptor, std::string_view content);

// The directories the work happens in, all borrowed.
struct Workspace {
  int staging = -1;  // its own, writable: <hex>/root and <hex>/layer.json, blobs/<hex>
  int layers = -1;   // the store's, read-only: what need not be had again
  int locks = -1;    // one lock file per layer, against the same work in two pullers
  Budget* budget = nullptr;
  UnpackLimits limits;
};

// Called when a layer stands in the staging directory; returns once it has been moved
// to the store (so the layer's lock can go). Any thread, one call at a time.
using LayerReady = std::function<host::Status(const Digest& diff_id)>;

// Gets the layers that the store lacks and writes the documents to staging/blobs.
// After a failure the layers already handed over stay in the store.
host::Status execute(const ImagePlan& plan, const Workspace& workspace, const LayerReady& ready);

}  // namespace keelson::images
