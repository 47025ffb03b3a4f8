#include "agent/network/doctor.h"

#include <netinet/in.h>  // before the kernel's headers, which then leave its names alone

#include <fmt/core.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "agent/network/host_setup.h"
#include "agent/network/names.h"
#include "host/fd.h"
#include "host/file.h"
#include "host/netlink.h"
#include "host/nft.h"

namespace keelson::network {
namespace {

using Severity = Finding::Severity;
namespace nft = host::nft;

const host::Path kProcSysNet = "/proc/sys/net";

std::optional<uint64_t> number_in(const host::Path& file) {
  const auto text = host::read_file(file);
  uint64_t value = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc()) return std::nullopt;
  return value;
}

bool wants(const Settings& settings, bool v4) {
  return std::ranges::any_of(settings.pod_cidrs, [&](const auto& cidr) { return cidr.is_v4() == v4; });
}

std::string networks_text(const Settings& settings) {
  std::string text;
  for (const auto* cidrs : {&settings.pod_cidrs, &settings.service_cidrs}) {
    for (const auto& cidr : *cidrs) text += (text.empty() ? "" : ", ") + cidr.to_string();
  }
  return text + " overlap nothing";
}

void examine_networks(const Settings& settings, const Names& names, std::vector<Finding>& findings) {
  auto socket = host::RouteSocket::open();
  auto view = socket ? look_at_host(*socket) : host::Result<HostView>(std::unexpected(socket.error()));
  if (!view) {
    findings.push_back({Severity::error, "netlink", view.error().message, "run as root"});
    return;
  }
  if (auto checked = check_networks({settings.pod_cidrs, settings.service_cidrs}, *view, names); !checked)
    findings.push_back(
        {Severity::error, "CIDR", checked.error().message, "choose networks that the host does not use"});
  else
    findings.push_back({Severity::fine, "CIDR", networks_text(settings), ""});
}

// Each is what one of our tables is made of; the kernel is asked by trying.
void examine_nftables(nft::Nft& nft, std::vector<Finding>& findings) {
  struct Probe {
    const char* subject;
    const char* modules;
    nft::Chain chain;
    nft::Set set;
  };
  const auto base = [](nft::ChainType type, nft::Hook hook) {
    return nft::BaseChain{type, hook, nft::kPriorityFilter};
  };
  const nft::Set map{.name = "probe", .key = {nft::Type::mark}, .data = {nft::Type::ipv4, nft::Type::port}};
  const std::vector<Probe> probes{
      {"nftables: address translation",
       "nft_chain_nat nft_masq nft_nat",
       {.name = "probe",
        .base = base(nft::ChainType::nat, nft::Hook::postrouting),
        .rules = {{.match = {nft::MatchProtocol{IPPROTO_TCP}}, .action = nft::Masquerade{32768, 65535}}}},
       map},
      {"nftables: translation by a map",
       "nft_chain_nat nft_nat nf_nat",
       {.name = "probe",
        .base = base(nft::ChainType::nat, nft::Hook::prerouting),
        .rules = {{.match = {nft::MatchFamily{AF_INET}}, .action = nft::DnatByMap{{}, "probe"}}}},
       map},
      {"nftables: route lookup",
       "nft_fib nft_fib_inet nft_fib_ipv4 nft_fib_ipv6",
       {.name = "probe",
        .base = base(nft::ChainType::filter, nft::Hook::prerouting),
        .rules = {{.match = {nft::MatchSpoofed{}}}}},
       map},
      {"nftables: reject",
       "nft_reject_inet nft_reject",
       {.name = "probe",
        .base = base(nft::ChainType::filter, nft::Hook::prerouting),
        .rules = {{.match = {nft::MatchProtocol{IPPROTO_TCP}}, .action = nft::Reject{nft::Reject::tcp_reset}},
                  {.action = nft::Reject{}}}},
       map},
      {"nftables: connection state",
       "nft_ct nf_conntrack",
       {.name = "probe",
        .base = base(nft::ChainType::filter, nft::Hook::forward),
        .rules = {{.match = {nft::MatchConnectionState{nft::MatchConnectionState::kNew}}}}},
       map},
  };
  const auto name = fmt::format("keelson-probe-{}", getpid());
  for (const auto& probe : probes) {
    // Behind a rule that matches nothing, so that no packet meets it while it stands.
    auto chain = probe.chain;
    for (auto& rule : chain.rules) rule.match.insert(rule.match.begin(), nft::MatchInterface{.name = "keelson-none"});
    const nft::Table table{.family = nft::Family::inet, .name = name, .sets = {probe.set}, .chains = {chain}};
    if (auto made = nft.replace({&table, 1}); !made)
      findings.push_back({Severity::error, probe.subject, made.error().message,
                          fmt::format("modprobe -a {} (a kernel with CONFIG_NF_TABLES and these)", probe.modules)});
    else
      findings.push_back({Severity::fine, probe.subject, "works", ""});
    if (auto removed = nft.remove(nft::Family::inet, name); !removed)
      findings.push_back(
          {Severity::warning, probe.subject, removed.error().message, fmt::format("nft delete table inet {}", name)});
  }
}

// Whether rules let through what comes in by, and what goes out by, every interface of ours.
class Gate {
 public:
  explicit Gate(std::string_view link_prefix) : link_prefix_(link_prefix) {}
  void accepts(bool incoming, std::string_view name, bool is_prefix) {
    if (is_prefix && link_prefix_.starts_with(name)) (incoming ? in_ : out_) = true;
  }
  bool is_open() const { return in_ && out_; }

 private:
  std::string_view link_prefix_;
  bool in_ = false, out_ = false;
};

const ipt_ip& head_of(const ipt_entry& entry) { return entry.ip; }
const ip6t_ip6& head_of(const ip6t_entry& entry) { return entry.ipv6; }

// "kl+" has a mask over its letters alone.
template <size_t size>
void take_legacy_interface(Gate& gate, bool incoming, const char (&name)[size], const unsigned char (&mask)[size]) {
  size_t letters = 0;
  while (letters < size && mask[letters] != 0 && name[letters] != '\0') ++letters;
  if (letters > 0) gate.accepts(incoming, std::string_view(name, letters), mask[letters] == 0);
}

// iptables-legacy's FORWARD chain, which nftables does not show: whether it drops what no rule of it
// accepts, and none accepts our interfaces. Entries of the table are asked for only if the kernel has
// it: asking loads the module.
template <typename Info, typename Entries, typename Entry>
bool legacy_forward_drops(const host::Path& names, int family, int level, int get_info, int get_entries, Gate gate) {
  const auto tables = host::read_file(names);
  if (!tables || tables->find("filter\n") == tables->npos) return false;
  const host::Fd socket(::socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket) return false;
  Info info{};
  std::strcpy(info.name, "filter");
  socklen_t length = sizeof info;
  if (getsockopt(socket.get(), level, get_info, &info, &length) != 0) return false;
  if ((info.valid_hooks & 1u << NF_INET_FORWARD) == 0) return false;
  length = static_cast<socklen_t>(sizeof(Entries) + info.size);
  const auto buffer = std::make_unique<char[]>(length);
  auto* entries = reinterpret_cast<Entries*>(buffer.get());
  std::strcpy(entries->name, "filter");
  entries->size = info.size;
  if (getsockopt(socket.get(), level, get_entries, entries, &length) != 0) return false;
  // The policy is the last rule of the chain, with a standard target.
  const size_t at = info.underflow[NF_INET_FORWARD];
  if (at + sizeof(Entry) > info.size) return false;
  const char* table = buffer.get() + sizeof(Entries);
  const auto* entry = reinterpret_cast<const Entry*>(table + at);
  if (at + entry->target_offset + sizeof(xt_standard_target) > info.size) return false;
  const auto* target = reinterpret_cast<const xt_standard_target*>(table + at + entry->target_offset);
  if (target->verdict != -NF_DROP - 1) return false;
  for (size_t next = 0; next + sizeof(Entry) <= info.size;) {
    const auto* rule = reinterpret_cast<const Entry*>(table + next);
    if (rule->next_offset < sizeof(Entry) || next + rule->target_offset + sizeof(xt_standard_target) > info.size) break;
    const auto* does = reinterpret_cast<const xt_standard_target*>(table + next + rule->target_offset);
    // A standard target has no name; matches would stand between the entry and its target.
    const bool accepts = does->target.u.user.name[0] == '\0' && does->verdict == -NF_ACCEPT - 1;
    if (accepts && rule->target_offset == sizeof(Entry)) {
      const auto& head = head_of(*rule);
      const bool any_in = head.iniface_mask[0] == 0, any_out = head.outiface_mask[0] == 0;
      if (any_out) take_legacy_interface(gate, true, head.iniface, head.iniface_mask);
      if (any_in) take_legacy_interface(gate, false, head.outiface, head.outiface_mask);
    }
    next += rule->next_offset;
  }
  return !gate.is_open();
}

void examine_forwarding(nft::Nft* nft, const Settings& settings, const Names& names, std::vector<Finding>& findings) {
  const auto problem = [](std::string_view whose) {
    return fmt::format("{} drops what no rule of it accepts: pods reach neither each other nor the outside", whose);
  };
  const auto iptables = [&](const char* command) {
    return fmt::format(
        "{0} -I {1} -i {2}+ -j ACCEPT && {0} -I {1} -o {2}+ -j ACCEPT (with Docker, into DOCKER-USER, "
        "which Docker leaves alone)",
        command, "FORWARD", names.link_prefix);
  };
  if (nft != nullptr) {
    const auto chains = nft->base_chains();
    if (!chains) findings.push_back({Severity::warning, "FORWARD policy", chains.error().message, ""});
    for (const auto& chain : chains ? *chains : std::vector<nft::ForeignChain>()) {
      if (chain.base.hook != nft::Hook::forward || !chain.base.drop) continue;
      if (chain.table.family == nft::Family::ip && !wants(settings, true)) continue;
      if (chain.table.family == nft::Family::ip6 && !wants(settings, false)) continue;
      Gate gate(names.link_prefix);
      const auto accepts = nft->interface_accepts(chain.table);
      for (const auto& rule : accepts ? *accepts : std::vector<nft::InterfaceAccept>()) {
        gate.accepts(rule.incoming, rule.name, rule.is_prefix);
      }
      if (gate.is_open()) continue;
      const char* family = chain.table.family == nft::Family::ip    ? "ip"
                           : chain.table.family == nft::Family::ip6 ? "ip6"
                                                                    : "inet";
      const auto whose = fmt::format("the chain {} of nft's table {} {}", chain.name, family, chain.table.name);
      // iptables-nft keeps its rules in tables of this name.
      const bool by_iptables =
          chain.table.name == "filter" && chain.name == "FORWARD" && chain.table.family != nft::Family::inet;
      findings.push_back(
          {Severity::error, "FORWARD policy", problem(whose),
           by_iptables ? iptables(chain.table.family == nft::Family::ip ? "iptables" : "ip6tables")
                       : fmt::format("nft insert rule {0} {1} {2} iifname \"{3}*\" accept; nft insert rule {0} {1} {2} "
                                     "oifname \"{3}*\" accept",
                                     family, chain.table.name, chain.name, names.link_prefix)});
    }
  }
  if (wants(settings, true) && legacy_forward_drops<ipt_getinfo, ipt_get_entries, ipt_entry>(
                                   "/proc/net/ip_tables_names", AF_INET, IPPROTO_IP, IPT_SO_GET_INFO,
                                   IPT_SO_GET_ENTRIES, Gate(names.link_prefix)))
    findings.push_back(
        {Severity::error, "FORWARD policy", problem("iptables-legacy's chain FORWARD"), iptables("iptables-legacy")});
  if (wants(settings, false) && legacy_forward_drops<ip6t_getinfo, ip6t_get_entries, ip6t_entry>(
                                    "/proc/net/ip6_tables_names", AF_INET6, IPPROTO_IPV6, IP6T_SO_GET_INFO,
                                    IP6T_SO_GET_ENTRIES, Gate(names.link_prefix)))
    findings.push_back(
        {Severity::error, "FORWARD policy", problem("ip6tables-legacy's chain FORWARD"), iptables("ip6tables-legacy")});
}

void examine_conntrack(std::vector<Finding>& findings) {
  const auto most = number_in(kProcSysNet / "netfilter/nf_conntrack_max");
  const auto now = number_in(kProcSysNet / "netfilter/nf_conntrack_count");
  if (!most || !now) {
    findings.push_back({Severity::error, "conntrack", "this kernel tracks no connections, so nothing can be translated",
                        "modprobe nf_conntrack nf_conntrack_netlink"});
    return;
  }
  if (*most > 0 && *now > *most / 10 * 8)
    findings.push_back(
        {Severity::warning, "conntrack",
         fmt::format("{} of at most {} flows are in use; new ones are dropped when it is full", *now, *most),
         fmt::format("sysctl net.netfilter.nf_conntrack_max={}", *most * 2)});
  else
    findings.push_back({Severity::fine, "conntrack", fmt::format("{} of at most {} flows", *now, *most), ""});
}

void examine_ipv6(const Settings& settings, std::vector<Finding>& findings) {
  if (wants(settings, false) && number_in(kProcSysNet / "ipv6/conf/default/disable_ipv6").value_or(1) == 1)
    findings.push_back({Severity::error, "IPv6", "a pod CIDR is IPv6, but IPv6 is switched off on this host",
                        "sysctl net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0"});
}

// The agent has switched it on.
void examine_switches(const Settings& settings, std::vector<Finding>& findings) {
  for (const auto& [v4, file, name] : {std::tuple(true, "ipv4/ip_forward", "net.ipv4.ip_forward"),
                                       std::tuple(false, "ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding")}) {
    if (!wants(settings, v4) || number_in(kProcSysNet / file).value_or(1) != 0) continue;
    findings.push_back({Severity::error, "forwarding",
                        fmt::format("{} was switched off: pods reach neither each other nor the outside", name),
                        fmt::format("sysctl {}=1, and see in /etc/sysctl.d who switches it off", name)});
  }
}

void examine_sysctls(const Settings& settings, std::vector<Finding>& findings) {
  if (access((kProcSysNet / "ipv4/ip_forward").c_str(), W_OK) != 0)
    findings.push_back({Severity::error, "sysctl", "/proc/sys/net cannot be written, so forwarding cannot be set",
                        "remount /proc/sys writable, or set net.ipv4.ip_forward=1 beforehand"});
  if (number_in(kProcSysNet / "ipv4/conf/all/rp_filter").value_or(0) == 1)
    findings.push_back(
        {Severity::note, "rp_filter",
         "net.ipv4.conf.all.rp_filter is 1 (strict): on a host with several uplinks, answers to pods that "
         "come in by another one than the request left by are dropped",
         "sysctl net.ipv4.conf.all.rp_filter=2"});
  examine_ipv6(settings, findings);
}

}  // namespace

std::vector<Finding> examine_host(const Settings& settings) {
  const auto names = Names::of(settings.instance);
  std::vector<Finding> findings;
  examine_networks(settings, names, findings);
  auto nft = nft::Nft::open();
  if (nft)
    examine_nftables(*nft, findings);
  else
    findings.push_back({Severity::error, "nftables", nft.error().message, "modprobe nf_tables"});
  examine_forwarding(nft ? &*nft : nullptr, settings, names, findings);
  examine_conntrack(findings);
  examine_sysctls(settings, findings);
  const bool accepts = std::ranges::none_of(findings, [](const auto& one) { return one.subject == "FORWARD policy"; });
  if (accepts) findings.push_back({Severity::fine, "FORWARD policy", "accept", ""});
  return findings;
}

std::vector<Finding> examine_running_host(const Settings& settings) {
  const auto names = Names::of(settings.instance);
  std::vector<Finding> findings;
  auto nft = nft::Nft::open();
  examine_forwarding(nft ? &*nft : nullptr, settings, names, findings);
  examine_switches(settings, findings);
  examine_ipv6(settings, findings);
  std::erase_if(findings, [](const auto& one) { return one.severity != Severity::error; });
  return findings;
}

}  // namespace keelson::network
