#pragma once
// The cluster's own certificate authority: one key pair that signs every certificate of
// the cluster, the API server's, the agents', the components' and the users'.
//
// Blocking (files, key generation: under a millisecond each); any thread. The clock is a
// parameter. Keys are EC P-256; private keys are files of mode 0600, written atomically.
// Sources: RFC 5280; Kubernetes' PKI (CN is the user, O the groups; kubeadm's lifetimes).

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"
#include "host/file.h"

namespace keelson::pki {

using Time = std::chrono::system_clock::time_point;

// A certificate and its private key, as PEM.
struct KeyPair {
  std::string certificate;
  std::string key;
};

// Whom a certificate names and what it is good for.
struct Subject {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;  // SANs
  std::vector<std::string> addresses;  // SANs, IPv4 or IPv6
  bool server = false;                 // TLS server authentication
  bool client = false;                 // TLS client authentication
};

// How long certificates live. Each begins five minutes before it is made, for peers
// whose clocks are behind.
inline constexpr std::chrono::hours kAuthorityLifetime{24 * 3650};
inline constexpr std::chrono::hours kLifetime{24 * 365};

class Authority {
 public:
  struct Impl;
  // ca.crt and ca.key in the directory (which is made, 0700), created when neither exists. A
  // key without its certificate gets another one, which vouches for all that was issued. A
  // certificate without its key, or two that do not belong together, is an error: another
  // authority would lock out everybody who trusts this one.
  static host::Result<std::unique_ptr<Authority>> open_or_create(const host::Path& directory, Time now);
  ~Authority();

  const std::string& certificate() const;  // PEM
  host::Path certificate_file() const;

  // Never beyond the authority's own end. Invalid: an address that is none.
  host::Result<KeyPair> issue(const Subject& subject, Time now, std::chrono::seconds lifetime = kLifetime) const;

  struct Ensured {
    host::Path certificate_file, key_file;
    bool renewed = false;   // it was made anew
    std::string why;        // and for this reason
    std::string not_after;  // of the one that now stands, RFC 3339
  };
  // NAME.crt and NAME.key in the directory for this subject. What stands there stays while it
  // is ours, names all that is asked for, fits its key and has a third of its life before it.
  host::Result<Ensured> ensure(std::string_view name, const Subject& subject, Time now,
                               std::chrono::seconds lifetime = kLifetime) const;

 private:
  explicit Authority(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::pki
