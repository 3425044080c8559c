import java.nio.charset.StandardCharsets;
import org.apache.calcite.avatica.util.Casing;
import org.apache.calcite.avatica.util.Quoting;
import org.apache.calcite.sql.parser.SqlParser;
import org.apache.flink.sql.parser.impl.FlinkSqlParserImpl;
import org.apache.flink.sql.parser.validate.FlinkSqlConformance;

/** Parses the statements on stdin, a zero byte between two, as Flink's planner does; prints what each is. */
class ParseFlink {
    public static void main(String[] args) throws Exception {
        var config = SqlParser.config()
                .withParserFactory(FlinkSqlParserImpl.FACTORY)
                .withConformance(FlinkSqlConformance.DEFAULT)
                .withQuoting(Quoting.BACK_TICK)
                .withUnquotedCasing(Casing.UNCHANGED)
                .withQuotedCasing(Casing.UNCHANGED)
                .withIdentifierMaxLength(256);
        var input = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        for (var statement : input.split("\0")) {
            var parsed = SqlParser.create(statement.strip().replaceFirst(";$", ""), config).parseStmt();
            System.out.println(parsed.getClass().getSimpleName());
        }
    }
}
