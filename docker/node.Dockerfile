# The node on top of its dependencies; rebuilt whenever a file of the node changes.
ARG DEPS=squall-deps:latest
FROM ${DEPS}
LABEL squall=1
COPY node/ /opt/squall/squall/node/
RUN python3 -m compileall -q /opt/squall/squall/node
