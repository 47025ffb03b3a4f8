#pragma once
// What a Service means, said again in the plainest way: for every virtual address the
// places that a new flow may go to. No indexes, no increments; read it beside
// https://kubernetes.io/docs/reference/networking/virtual-ips/ . Tests compare the
// proxy with it.

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/proxy/entry.h"
#include "api/object.h"

namespace keelson::test {

struct ServiceModel {
  std::map<std::string, api::Service> services;  // with allocated addresses; one namespace
  std::map<std::string, api::Endpoints> endpoints;
  std::map<std::string, api::Pod> pods;

  using Place = std::pair<host::IpAddress, uint16_t>;
  using Meaning = std::map<proxy::Vip, std::set<Place>>;

  Meaning meaning() const {
    Meaning all;
    for (const auto& [name, service] : services) {
      const auto& spec = service.spec;
      if (spec.type == "ExternalName" || spec.cluster_ip == "None") continue;
      for (const auto& port : spec.ports) {
        for (const auto& text : spec.cluster_ips) {
          const auto ip = host::IpAddress::parse(text).value();
          const auto protocol = protocol_of(port.protocol);
          all[{ip, static_cast<uint16_t>(port.port), protocol, false}] = places(service, port, ip.is_v4());
          if (spec.type == "NodePort") {
            const auto any = ip.is_v4() ? host::IpAddress::v4(0) : host::IpAddress();
            all[{any, static_cast<uint16_t>(*port.node_port), protocol, true}] = places(service, port, ip.is_v4());
          }
        }
      }
    }
    for (const auto& [name, pod] : pods) {
      if (pod.status.phase != "Running") continue;
      for (const auto& container : pod.spec.containers) {
        for (const auto& port : container.ports) {
          if (!port.host_port) continue;
          for (const auto& text : pod.status.pod_ips) {
            const auto ip = host::IpAddress::parse(text.ip).value();
            const auto any = ip.is_v4() ? host::IpAddress::v4(0) : host::IpAddress();
            all[{any, static_cast<uint16_t>(*port.host_port), protocol_of(port.protocol), true}] = {
                {ip, static_cast<uint16_t>(port.container_port)}};
          }
        }
      }
    }
    return all;
  }

 private:
  static proxy::Protocol protocol_of(const std::string& text) {
    return text == "UDP" ? proxy::Protocol::udp : proxy::Protocol::tcp;
  }

  std::set<Place> places(const api::Service& service, const api::ServicePort& port, bool v4) const {
    std::set<Place> ready, terminating;
    if (service.spec.selector.empty()) {
      const auto given = endpoints.find(service.metadata.name);
      if (given == endpoints.end()) return {};
      for (const auto& subset : given->second.subsets) {
        for (const auto& offered : subset.ports) {
          if (offered.name != port.name || offered.protocol != port.protocol) continue;
          for (const auto& address : subset.addresses) {
            const auto ip = host::IpAddress::parse(address.ip).value();
            if (ip.is_v4() == v4) ready.insert({ip, static_cast<uint16_t>(offered.port)});
          }
        }
      }
      return ready;
    }
    for (const auto& [name, pod] : pods) {
      bool selected = pod.status.phase == "Running";
      for (const auto& [key, value] : service.spec.selector) {
        const auto label = pod.metadata.labels.find(key);
        selected &= label != pod.metadata.labels.end() && label->second == value;
      }
      bool is_ready = false;
      for (const auto& condition : pod.status.conditions)
        is_ready |= condition.type == "Ready" && condition.status == "True";
      const bool all = service.spec.publish_not_ready_addresses.value_or(false);
      if (!selected || (!is_ready && !all)) continue;
      int number = port.port;
      if (port.target_port && !port.target_port->is_string) number = port.target_port->number;
      if (port.target_port && port.target_port->is_string) {
        number = 0;
        for (const auto& container : pod.spec.containers) {
          for (const auto& offered : container.ports) {
            if (offered.name == port.target_port->text && offered.protocol == port.protocol)
              number = offered.container_port;
          }
        }
        if (number == 0) continue;
      }
      for (const auto& text : pod.status.pod_ips) {
        const auto ip = host::IpAddress::parse(text.ip).value();
        if (ip.is_v4() != v4) continue;
        (pod.metadata.deletion_timestamp && !all ? terminating : ready).insert({ip, static_cast<uint16_t>(number)});
      }
    }
    return ready.empty() ? terminating : ready;
  }
};

}  // namespace keelson::test
