#include <algorithm>
#include <thread>

#include "gateway/gateway.h"
#include "programs/node_main.h"

int main(int argc, char** argv) {
  return postern::node_main<postern::Gateway>(
      argc, argv,
      {"postern-gateway",
       "The Postern gateway: takes what agents and gateways report, keeps it "
       "on disk, and hands it on.",
       "/etc/postern/gateway.yaml", postern::NodeRole::gateway,
       std::max(1u, std::thread::hardware_concurrency())});
}
