#include "agent/agent.h"
#include "programs/node_main.h"

int main(int argc, char** argv) {
  return postern::node_main<postern::Agent>(
      argc, argv,
      {"postern-agent",
       "The Postern agent: measures this machine and reports to a gateway or management server.",
       "/etc/postern/agent.yaml", postern::NodeRole::agent, 0});
}
