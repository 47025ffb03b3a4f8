#pragma once
// A registry that speaks the OCI distribution protocol (distribution-spec v1, "Docker
// registry v2"), as the source of one image. Runs in the puller.
//
// TLS always, but for loopback addresses and the hosts set as insecure, which get plain
// HTTP. Credentials go to the registry itself and to the token service that it names,
// and never along a redirect to another origin. Trouble that may pass (5xx, 429, a
// refused or dropped connection) is tried again with back-off; a blob that broke off
// is resumed where it stopped, also by the next puller.

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "agent/images/puller/plan.h"
#include "agent/images/puller/transfer.h"
#include "agent/images/reference.h"
#include "api/cri.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

struct RegistrySettings {
  std::vector<api::RegistryCredential> credentials;
  std::vector<std::string> insecure_registries;
  std::string ca_file;
  int partial = -1;  // directory of partial downloads; -1: nothing is kept
  int hangup = -1;   // when it hangs up, no more waiting for a next attempt
};

// The credential for an image, as kubelet chooses: the longest match of host and path;
// "*" stands for one label of the host. nullptr when there is none.
const api::RegistryCredential* choose_credential(const std::vector<api::RegistryCredential>& credentials,
                                                 const Reference& reference);

// A WWW-Authenticate header: Bearer realm="…",service="…",scope="…".
struct Challenge {
  std::string scheme;  // lower case
  std::map<std::string, std::string> parameters;
};
Challenge parse_challenge(std::string_view header);

class Registry : public ContentSource {
 public:
  Registry(Reference reference, RegistrySettings settings);

  // The manifest or index that the reference names. Errors: not_found, denied
  // ("unauthorized", "x509: …"), unavailable; each names the registry and the reference.
  host::Result<std::pair<Descriptor, std::string>> resolve();
  host::Result<std::string> document(const Descriptor& descriptor, bool manifest) override;
  host::Result<std::unique_ptr<ByteSource>> layer(const Descriptor& descriptor) override;

 private:
  friend class BlobDownload;
  // 200 or 206 after authentication, redirects and retries. Any thread.
  host::Result<std::unique_ptr<Transfer>> get(const std::string& path, const std::vector<std::string>& headers);
  host::Result<std::unique_ptr<Transfer>> get_once(const std::string& path, const std::vector<std::string>& headers,
                                                   int64_t& retry_after_ms);
  host::Status authorize(const std::vector<std::string>& challenges, const std::string& refused);
  std::string authorization();
  // False when the parent has gone.
  bool wait(int attempt, int64_t at_least_ms) const;
  host::Error within(host::Error error) const;

  Reference reference_;
  RegistrySettings settings_;
  std::string host_;
  bool plain_http_;
  std::mutex mutex_;  // guards authorization_
  std::string authorization_;
};

}  // namespace keelson::images
